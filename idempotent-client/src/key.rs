//! The idempotency key, and how one is made.

use std::fmt;

use http::HeaderValue;
use uuid::Uuid;

/// The longest key, in characters.
const MAX_CHARS: usize = 255;

/// The value of `Idempotency-Key`: names one operation, in all its attempts.
///
/// Whoever knows a key and its caller's credentials can ask for the stored response, so `Debug`
/// output shows a short hash only.
///
/// ```
/// use idempotent_client::IdempotencyKey;
///
/// let key = IdempotencyKey::new("order-4711")?;
/// assert_eq!(key.as_str(), "order-4711");
/// assert!(!format!("{key:?}").contains("4711"));
/// # Ok::<_, idempotent_client::InvalidKey>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Box<str>);

impl IdempotencyKey {
    /// A key that nobody else has: a random UUID (version 4).
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4().to_string().into())
    }

    /// A key of the caller's own: 1 to 255 visible ASCII characters, the first of them no `"`.
    ///
    /// # Errors
    ///
    /// What is wrong with the text, without repeating it.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidKey> {
        let text = text.into();
        if text.is_empty() {
            Err(InvalidKey::Empty)
        } else if text.len() > MAX_CHARS {
            Err(InvalidKey::TooLong)
        } else if text.starts_with('"') {
            Err(InvalidKey::Quoted)
        } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Err(InvalidKey::NotVisibleAscii)
        } else {
            Ok(Self(text.into()))
        }
    }

    /// Reads the value of a header: a bare key, or a structured-field string (RFC 9651 §3.3.3)
    /// whose text is one. Both are the same key.
    #[cfg(feature = "reqwest")]
    pub(crate) fn from_header(value: &[u8]) -> Result<Self, InvalidKey> {
        let text = std::str::from_utf8(value).map_err(|_| InvalidKey::NotVisibleAscii)?;
        let quoted = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'))
            // Such a text is only the same without the quotes if nothing in it is escaped.
            .filter(|text| !text.contains(['"', '\\']));
        Self::new(quoted.unwrap_or(text))
    }

    /// A key that follows from what is to be done: the same arguments give the same key, in
    /// whatever process and on whatever machine. It is a UUID (version 8) of 122 bits of a
    /// BLAKE3 hash over the arguments, each with its length before it.
    ///
    /// * `namespace`: the application, such as `shop.example/billing`;
    /// * `caller`: on whose behalf, such as an account's id;
    /// * `operation`: what is done, such as `POST /payments`;
    /// * `payload`: the bytes that tell this operation from all others of its kind.
    ///
    /// It is right where the payload **names** the operation, as an invoice's number does: then a
    /// program that lost all its memory still makes the same key. It is wrong where two equal
    /// payloads can both be meant: two coffees for 3.50 would be paid once. Nor does a derived
    /// key ever end: what was refused for good is refused again until the payload is another, so
    /// put a counter into it if your user may try again. For anything else take
    /// [`random`](Self::random) and a [`KeyStore`](crate::KeyStore).
    ///
    /// Whoever knows all arguments knows the key. That is no secret against them; the server
    /// must keep callers apart, as `scope` does.
    ///
    /// ```
    /// use idempotent_client::IdempotencyKey;
    ///
    /// let pay = |invoice: &str| {
    ///     IdempotencyKey::derived("shop", "account-17", "POST /payments", invoice.as_bytes())
    /// };
    /// assert_eq!(pay("invoice-4711"), pay("invoice-4711"));
    /// assert_ne!(pay("invoice-4711"), pay("invoice-4712"));
    /// ```
    #[must_use]
    pub fn derived(namespace: &str, caller: &str, operation: &str, payload: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("idempotent-client 2026 derived key");
        for part in [
            namespace.as_bytes(),
            caller.as_bytes(),
            operation.as_bytes(),
            payload,
        ] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        Self(Uuid::new_v8(bytes).to_string().into())
    }

    /// The key itself, for a store of yours. It does not belong in logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value for the `Idempotency-Key` header, marked as sensitive.
    #[must_use]
    #[allow(clippy::missing_panics_doc)] // It cannot.
    pub fn to_header_value(&self) -> HeaderValue {
        // Only visible ASCII characters get into a key, and a header's value may hold them all.
        let mut value = HeaderValue::from_str(&self.0).expect("a key is visible ASCII");
        value.set_sensitive(true);
        value
    }

    /// Eight hexadecimal digits of a hash, to tell keys apart in a log.
    #[must_use]
    pub fn short_hash(&self) -> String {
        let mut digits = blake3::hash(self.0.as_bytes()).to_hex().to_string();
        digits.truncate(8);
        digits
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "IdempotencyKey(#{})", self.short_hash())
    }
}

/// Why a text cannot be an idempotency key. Never repeats the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// It has no characters.
    #[error("an idempotency key needs at least one character")]
    Empty,
    /// It is longer than 255 characters.
    #[error("an idempotency key has at most 255 characters")]
    TooLong,
    /// It starts with a quote, which servers read as a structured-field string.
    #[error("an idempotency key must not start with a quote; give what is between the quotes")]
    Quoted,
    /// It holds a space, a control character or one that is not ASCII.
    #[error("an idempotency key has visible ASCII characters only")]
    NotVisibleAscii,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_would_refuse_is_refused_here() {
        for (text, refusal) in [
            ("", InvalidKey::Empty),
            (&"k".repeat(256), InvalidKey::TooLong),
            ("\"k\"", InvalidKey::Quoted),
            ("a key", InvalidKey::NotVisibleAscii),
            ("k\r\nx: y", InvalidKey::NotVisibleAscii),
            ("schlüssel", InvalidKey::NotVisibleAscii),
        ] {
            assert_eq!(IdempotencyKey::new(text), Err(refusal));
        }
        assert!(IdempotencyKey::new("k".repeat(255)).is_ok());
    }

    #[test]
    fn every_operation_gets_another_random_uuid() {
        let (one, other) = (IdempotencyKey::random(), IdempotencyKey::random());
        assert_ne!(one, other);
        let uuid: Uuid = one.as_str().parse().unwrap();
        assert_eq!(uuid.get_version_num(), 4);
    }

    #[test]
    fn no_part_of_a_derived_key_can_be_taken_for_another() {
        let keys = [
            IdempotencyKey::derived("a", "bc", "d", b"e"),
            IdempotencyKey::derived("ab", "c", "d", b"e"),
            IdempotencyKey::derived("a", "bc", "", b"de"),
            IdempotencyKey::derived("", "abc", "d", b"e"),
        ];
        for (index, key) in keys.iter().enumerate() {
            let uuid: Uuid = key.as_str().parse().unwrap();
            assert_eq!(uuid.get_version_num(), 8);
            assert!(!keys[index + 1..].contains(key));
        }
    }

    #[test]
    fn a_derived_key_is_the_same_in_every_release() {
        let key = IdempotencyKey::derived("shop", "alice", "POST /payments", b"invoice-4711");
        assert_eq!(key.as_str(), "90756d37-854f-833d-94cb-6fbd20217fc3");
    }

    #[test]
    fn debug_output_and_headers_hide_the_key() {
        let key = IdempotencyKey::new("order-4711").unwrap();
        assert!(!format!("{key:?}").contains("order"));
        assert!(key.to_header_value().is_sensitive());
        assert_eq!(key.to_header_value(), "order-4711");
    }
}
