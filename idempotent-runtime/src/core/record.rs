//! What the store is asked by, and for: record ids, owners, claims.

use std::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    time::Duration,
};

use super::{fingerprint::Fingerprint, key::Key, policy::OnLost, scope::Scope};

/// The only thing a store ever looks up by: BLAKE3 over the length-prefixed tuple of namespace,
/// operation, scope name, scope value and key. No value a caller sends can be crafted to collide
/// with another's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordId([u8; 32]);

impl Hash for RecordId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // An id is a hash already: any eight bytes of it tell ids apart as well as all.
        let start = self.0.first_chunk().expect("an id has 32 bytes");
        state.write_u64(u64::from_le_bytes(*start));
    }
}

impl RecordId {
    /// The id of `key` of the caller `scope` for `operation`.
    ///
    /// `operation` is given in parts that are read as one text, so that a caller who has the
    /// method and the route need not join them.
    #[must_use]
    pub fn new(namespace: &str, operation: &[&str], scope: &Scope, key: &Key) -> Self {
        let mut tuple = TupleHasher::new();
        tuple.field(namespace.as_bytes());
        tuple.joined_field(operation);
        for part in scope.parts() {
            tuple.field(part);
        }
        for part in key.parts() {
            tuple.field(part);
        }
        Self(tuple.finish())
    }

    /// An id that was made before, as a store kept it.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The id's 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What logs and events call the key: it tells records apart, and nobody can read the key
    /// from it. Whoever knows the caller can still try out keys that are easy to guess.
    #[must_use]
    pub fn short_hash(&self) -> ShortHash {
        ShortHash(std::array::from_fn(|index| self.0[index]))
    }
}

/// Writes all of the id, as 64 hexadecimal digits: what an operator names a record by. Logs and
/// events have the [short hash](RecordId::short_hash).
impl fmt::Display for RecordId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, formatter)
    }
}

/// Reads what `Display` wrote.
impl FromStr for RecordId {
    type Err = RecordIdError;

    fn from_str(text: &str) -> Result<Self, RecordIdError> {
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return Err(RecordIdError);
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            let (Some(high), Some(low)) = (digit(digits[0]), digit(digits[1])) else {
                return Err(RecordIdError);
            };
            // Two digits are a byte.
            *byte = u8::try_from(high << 4 | low).map_err(|_| RecordIdError)?;
        }
        Ok(Self(bytes))
    }
}

/// A text that is no record id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordIdError;

impl fmt::Display for RecordIdError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(
            "a record id is 64 hexadecimal digits; the 12 of a log are only its beginning",
        )
    }
}

impl std::error::Error for RecordIdError {}

fn write_hex(bytes: &[u8], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes
        .iter()
        .try_for_each(|byte| write!(formatter, "{byte:02x}"))
}

impl fmt::Debug for RecordId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RecordId({})", self.short_hash())
    }
}

/// The first six bytes of a record id, written as hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShortHash([u8; 6]);

impl fmt::Display for ShortHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, formatter)
    }
}

impl fmt::Debug for ShortHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Who made a claim. A new one for every claim, so that a stale owner is always told apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnerToken(u128);

impl OwnerToken {
    /// A token of a value that no other claim has.
    #[must_use]
    pub const fn new(value: u128) -> Self {
        Self(value)
    }

    /// The value, for a store that writes it down.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0
    }
}

impl fmt::Debug for OwnerToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Enough to tell owners apart, not enough to pose as one.
        write!(formatter, "OwnerToken({:04x}…)", self.0 & 0xffff)
    }
}

/// A claim: asked for with [`claim`](crate::Store::claim), and named in every later verb.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Claim {
    /// What is claimed.
    pub id: RecordId,
    /// Who claims it.
    pub owner: OwnerToken,
    /// What was asked for under this id.
    pub fingerprint: Fingerprint,
    /// How long the claim is believed without a sign of life, in stores that need a lease.
    pub lease: Duration,
    /// How long the record lives, counted from completion.
    pub ttl: Duration,
    /// What becomes of the id when the claim is lost.
    pub on_lost: OnLost,
    /// The largest body that will be recorded, in bytes: a store with a budget makes room for it
    /// before it grants the claim.
    pub max_response: u64,
    /// Whether the claim is also granted where a claim was lost that said `refuse`. Not a part
    /// of what is kept: only what is asked for.
    pub takes_over: bool,
}

impl Claim {
    /// A claim with the attribute's defaults: lease 30 s, ttl 24 h, `rerun`, 1 MiB.
    #[must_use]
    pub const fn new(id: RecordId, owner: OwnerToken, fingerprint: Fingerprint) -> Self {
        Self {
            id,
            owner,
            fingerprint,
            lease: Duration::from_secs(30),
            ttl: Duration::from_hours(24),
            on_lost: OnLost::Rerun,
            max_response: 1024 * 1024,
            takes_over: false,
        }
    }
}

/// BLAKE3 over a tuple whose every field is preceded by its length, so that no two tuples of the
/// same arity are the same bytes.
///
/// Fields are gathered, without a heap allocation, and hashed in one go: an incremental hasher is
/// two kilobytes to set up, more than most tuples.
pub(crate) struct TupleHasher {
    gathered: [u8; CHUNK],
    length: usize,
    long: Option<Box<blake3::Hasher>>,
}

/// One chunk of BLAKE3, up to which hashing needs no tree.
const CHUNK: usize = 1024;

impl TupleHasher {
    pub(crate) fn new() -> Self {
        Self {
            gathered: [0; CHUNK],
            length: 0,
            long: None,
        }
    }

    pub(crate) fn field(&mut self, field: &[u8]) {
        self.push_length(field.len());
        self.push(field);
    }

    /// One field, in parts.
    pub(crate) fn joined_field(&mut self, parts: &[&str]) {
        self.push_length(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            self.push(part.as_bytes());
        }
    }

    pub(crate) fn finish(&mut self) -> [u8; 32] {
        let gathered = &self.gathered[..self.length];
        match &mut self.long {
            None => blake3::hash(gathered),
            Some(long) => long.update(gathered).finalize(),
        }
        .into()
    }

    fn push_length(&mut self, length: usize) {
        self.push(&(length as u64).to_le_bytes());
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if let Some(room) = self.gathered.get_mut(self.length..end) {
            room.copy_from_slice(bytes);
            self.length = end;
        } else {
            self.spill(bytes);
        }
    }

    /// Out of the way, so that `push` is small enough to be a part of whoever calls it.
    #[cold]
    fn spill(&mut self, bytes: &[u8]) {
        let long = self.long.get_or_insert_default();
        long.update(&self.gathered[..self.length]).update(bytes);
        self.length = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(namespace: &str, operation: &str, scope: &Scope, key: &str) -> RecordId {
        RecordId::new(
            namespace,
            &[operation],
            scope,
            &Key::from_value(key).unwrap(),
        )
    }

    #[test]
    fn every_part_of_the_tuple_counts_and_none_can_be_shifted_into_another() {
        let user = |value: &str| Scope::named("user", value.to_owned());
        let ids = [
            id("", "POST /a", &user("1"), "k"),
            id("n", "POST /a", &user("1"), "k"),
            id("", "POST /b", &user("1"), "k"),
            id("", "POST /a", &user("2"), "k"),
            id("", "POST /a", &Scope::named("tenant", "1".to_owned()), "k"),
            id("", "POST /a", &Scope::expression("1".to_owned()), "k"),
            id("", "POST /a", &Scope::global(), "k"),
            id("", "POST /a", &user("1"), "l"),
            id("", "POST /a", &user("1k"), "l"),
            id("", "POST /a", &user("1"), "kl"),
            id("", "POST /a1", &user(""), "k"),
        ];
        for (index, left) in ids.iter().enumerate() {
            assert!(ids[index + 1..].iter().all(|right| left != right));
        }
    }

    #[test]
    fn an_id_is_read_as_it_was_written() {
        let id = id("", "POST /a", &Scope::global(), "k");
        let written = id.to_string();
        assert_eq!(written.parse(), Ok(id));
        assert_eq!(written.to_uppercase().parse(), Ok(id));
        assert!(written.starts_with(&id.short_hash().to_string()));
        for wrong in ["", "00", &written[1..], &format!("{}g", &written[1..])] {
            assert_eq!(wrong.parse::<RecordId>(), Err(RecordIdError));
        }
        assert_eq!("é".repeat(32).parse::<RecordId>(), Err(RecordIdError));
    }

    #[test]
    fn gathering_changes_no_hash() {
        for lengths in [[0, 0, 0], [1, 900, 200], [2000, 1, 1], [1000, 24, 3000]] {
            let mut tuple = TupleHasher::new();
            let mut plain = blake3::Hasher::new();
            for length in lengths {
                let field = vec![7; length];
                tuple.field(&field);
                plain.update(&(length as u64).to_le_bytes()).update(&field);
            }
            assert_eq!(tuple.finish(), *plain.finalize().as_bytes(), "{lengths:?}");
        }
    }

    #[test]
    fn an_operation_in_parts_is_the_joined_one() {
        let key = Key::from_value("k").unwrap();
        assert_eq!(
            RecordId::new("", &["POST", " ", "/a"], &Scope::global(), &key),
            RecordId::new("", &["POST /a"], &Scope::global(), &key),
        );
    }

    #[test]
    fn a_derived_key_is_no_key_that_a_client_can_send() {
        let fingerprint = Fingerprint::from_bytes(*b"0123456789abcdef0123456789abcdef");
        let derived = Key::derived(fingerprint);
        let sent = Key::from_header(fingerprint.as_bytes()).unwrap();
        assert_ne!(
            RecordId::new("", &["POST /a"], &Scope::global(), &derived),
            RecordId::new("", &["POST /a"], &Scope::global(), &sent),
        );
    }
}
