//! The form of a response that outlives its process: with a checksum over the response and the
//! record that it belongs to.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | format version |
//! | 1..9 | checksum |
//! | 9.. | the response, in the form of [`StoredResponse::as_bytes`] |

use bytes::{Buf as _, Bytes};

use super::{
    fingerprint::Fingerprint,
    record::{RecordId, TupleHasher},
    response::{DecodeError, StoredResponse},
};

/// No version of the form without a checksum, so that neither is taken for the other.
const FORMAT_VERSION: u8 = 2;
/// Damage goes unnoticed once in 2⁶⁴ times.
const CHECKSUM: usize = 8;
const PREFIX: usize = 1 + CHECKSUM;

impl StoredResponse {
    /// The form for a store whose records outlive this process: 9 bytes longer than
    /// [`as_bytes`](Self::as_bytes), with a checksum over the response, the record's id and its
    /// fingerprint. What a disk, a backup or a person has changed since is then refused by
    /// [`from_durable`](Self::from_durable), and never replayed.
    ///
    /// It is no protection against somebody who wants to change a record and can write to the
    /// store: that is what `Encrypted` (feature `encrypt`) is for.
    ///
    /// ```
    /// use idempotent_runtime::{Claim, StoredResponse};
    ///
    /// /// What a store writes down for a claim that has ended, and reads again later.
    /// fn written(claim: &Claim, response: &StoredResponse) -> Vec<u8> {
    ///     let written = response.to_durable(&claim.id, &claim.fingerprint);
    ///     let read = StoredResponse::from_durable(
    ///         written.clone().into(),
    ///         &claim.id,
    ///         &claim.fingerprint,
    ///     );
    ///     assert_eq!(read.as_ref(), Ok(response));
    ///     written
    /// }
    /// ```
    #[must_use]
    pub fn to_durable(&self, id: &RecordId, fingerprint: &Fingerprint) -> Vec<u8> {
        let encoded = self.as_bytes();
        let mut durable = Vec::with_capacity(PREFIX + encoded.len());
        durable.push(FORMAT_VERSION);
        durable.extend_from_slice(&checksum(id, fingerprint, encoded));
        durable.extend_from_slice(encoded);
        durable
    }

    /// Reads what [`to_durable`](Self::to_durable) gave, maybe in another process. Copies nothing.
    ///
    /// # Errors
    ///
    /// The bytes are of another format version, were cut off or changed, belong to another record,
    /// or were never a response.
    pub fn from_durable(
        mut durable: Bytes,
        id: &RecordId,
        fingerprint: &Fingerprint,
    ) -> Result<Self, DecodeError> {
        match durable.first() {
            Some(&FORMAT_VERSION) => {}
            Some(&version) => return Err(DecodeError::Version(version)),
            None => return Err(DecodeError::Malformed),
        }
        let (_, rest) = durable.split_at(1);
        let (written, encoded) = rest
            .split_first_chunk::<CHECKSUM>()
            .ok_or(DecodeError::Malformed)?;
        if *written != checksum(id, fingerprint, encoded) {
            return Err(DecodeError::Checksum);
        }
        durable.advance(PREFIX);
        Self::decode(durable)
    }
}

fn checksum(id: &RecordId, fingerprint: &Fingerprint, encoded: &[u8]) -> [u8; CHECKSUM] {
    let mut tuple = TupleHasher::new();
    tuple.field(id.as_bytes());
    tuple.field(fingerprint.as_bytes());
    tuple.field(encoded);
    let hash = tuple.finish();
    std::array::from_fn(|index| hash[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: RecordId = RecordId::from_bytes([1; 32]);
    const FINGERPRINT: Fingerprint = Fingerprint::from_bytes([2; 32]);

    fn read(durable: Vec<u8>) -> Result<StoredResponse, DecodeError> {
        StoredResponse::from_durable(durable.into(), &ID, &FINGERPRINT)
    }

    #[test]
    fn what_was_written_is_read() {
        for body in [&b""[..], b"body", &vec![7; 100_000]] {
            let response = StoredResponse::new(201, &[("location", b"/1")], body);
            let durable = response.to_durable(&ID, &FINGERPRINT);
            assert_eq!(durable.len(), response.as_bytes().len() + 9);
            assert_eq!(read(durable).unwrap(), response);
        }
    }

    #[test]
    fn every_change_of_a_byte_every_length_and_every_other_record_is_refused() {
        let response = StoredResponse::new(201, &[("location", b"/1")], b"body");
        let durable = response.to_durable(&ID, &FINGERPRINT);
        for at in 0..durable.len() {
            for byte in 0..=u8::MAX {
                let mut changed = durable.clone();
                changed[at] = byte;
                assert_eq!(read(changed).is_ok(), byte == durable[at], "{at}: {byte}");
            }
        }
        for length in 0..durable.len() {
            assert!(read(durable[..length].to_vec()).is_err(), "{length}");
        }
        assert!(read([&durable[..], b"\0"].concat()).is_err());
        let other = RecordId::from_bytes([2; 32]);
        let moved = StoredResponse::from_durable(durable.clone().into(), &other, &FINGERPRINT);
        assert_eq!(moved, Err(DecodeError::Checksum));
        let other = Fingerprint::from_bytes([1; 32]);
        let moved = StoredResponse::from_durable(durable.into(), &ID, &other);
        assert_eq!(moved, Err(DecodeError::Checksum));
    }

    #[test]
    fn neither_form_is_taken_for_the_other() {
        let response = StoredResponse::new(201, &[], b"body");
        let plain = response.as_bytes().clone();
        assert_eq!(read(plain.to_vec()), Err(DecodeError::Version(1)));
        let durable = response.to_durable(&ID, &FINGERPRINT);
        assert_eq!(
            StoredResponse::decode(durable.into()),
            Err(DecodeError::Version(2))
        );
    }
}
