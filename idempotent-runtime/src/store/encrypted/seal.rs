//! What a sealed record looks like:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | format |
//! | 8 | id of the key |
//! | 24 | nonce, random |
//! | … | the response in its stored form, enciphered |
//! | 16 | tag |
//!
//! The tag covers all of it, the record's id and its fingerprint.

use std::fmt;

use bytes::Bytes;
use chacha20poly1305::{AeadInOut as _, Tag, XNonce, aead::Generate as _};

use super::key::{SealingKey, SealingKeyId};
use crate::core::{
    fingerprint::Fingerprint,
    record::RecordId,
    response::{DecodeError, StoredResponse},
};

const FORMAT: u8 = 1;
const NONCE: usize = 24;
const TAG: usize = 16;
/// What precedes the enciphered bytes.
const HEAD: usize = 1 + SealingKeyId::BYTES + NONCE;
/// What a record grows by when it is sealed: this, and the stored form of another response
/// around it.
pub(super) const OVERHEAD: u64 = (HEAD + TAG + 8) as u64;

/// Where a record belongs. It opens nowhere else.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) id: &'a RecordId,
    pub(super) fingerprint: &'a Fingerprint,
}

impl Place<'_> {
    /// What is not enciphered and cannot be changed all the same. Every part has one length, so
    /// that none can be shifted into another.
    fn associated_data(self, key: SealingKeyId) -> [u8; 1 + SealingKeyId::BYTES + 64] {
        let mut data = [FORMAT; 1 + SealingKeyId::BYTES + 64];
        let (key_part, rest) = data[1..].split_at_mut(SealingKeyId::BYTES);
        let (id_part, fingerprint_part) = rest.split_at_mut(32);
        key_part.copy_from_slice(key.as_bytes());
        id_part.copy_from_slice(self.id.as_bytes());
        fingerprint_part.copy_from_slice(self.fingerprint.as_bytes());
        data
    }
}

/// Why a record was not sealed.
#[derive(Debug)]
pub(super) enum SealError {
    /// The operating system has no randomness.
    Randomness,
    /// It is longer than the cipher takes: 256 GiB.
    TooLong,
}

impl fmt::Display for SealError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Randomness => "a record cannot be sealed without randomness from the system",
            Self::TooLong => "the record is too long to be sealed",
        })
    }
}

impl std::error::Error for SealError {}

pub(super) fn seal(
    response: &StoredResponse,
    place: Place<'_>,
    key: &SealingKey,
) -> Result<StoredResponse, SealError> {
    let nonce = XNonce::try_generate().map_err(|_| SealError::Randomness)?;
    let mut payload = Vec::with_capacity(HEAD + response.as_bytes().len() + TAG);
    payload.push(FORMAT);
    payload.extend_from_slice(key.id().as_bytes());
    payload.extend_from_slice(&nonce);
    payload.extend_from_slice(response.as_bytes());
    let tag = key
        .cipher
        .encrypt_inout_detached(
            &nonce,
            &place.associated_data(key.id()),
            (&mut payload[HEAD..]).into(),
        )
        .map_err(|_| SealError::TooLong)?;
    payload.extend_from_slice(&tag);
    Ok(StoredResponse::sealed(&payload))
}

/// Why a record does not open. Shows nothing of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OpenError {
    Plain,
    /// Its shape is not that of a sealed record.
    Malformed,
    Format(u8),
    /// It is sealed under a key that is not there.
    UnknownKey(SealingKeyId),
    /// The tag does not fit.
    Forged(SealingKeyId),
    /// It opened, and this version cannot read what is inside.
    Inside(DecodeError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => formatter.write_str(
                "the record is not sealed; records from before the store was encrypted are read \
                 where `accept_plain` says so",
            ),
            Self::Malformed => formatter.write_str("the sealed record is cut off or damaged"),
            Self::Format(format) => write!(
                formatter,
                "the record is sealed in format {format}, this version opens {FORMAT}"
            ),
            Self::UnknownKey(key) => write!(
                formatter,
                "the record is sealed under the key {key}, which was not given"
            ),
            Self::Forged(key) => write!(
                formatter,
                "the record, sealed under the key {key}, was changed or belongs to another id"
            ),
            Self::Inside(_) => formatter.write_str("the record opened and cannot be read"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Inside(source) => Some(source),
            _ => None,
        }
    }
}

pub(super) fn open(
    sealed: &StoredResponse,
    place: Place<'_>,
    keys: &[SealingKey],
) -> Result<StoredResponse, OpenError> {
    if !sealed.is_sealed() {
        return Err(OpenError::Plain);
    }
    // The tag does not cover what is around the payload, so that may have only one form.
    if sealed.status() != StoredResponse::sealed(&[]).status() || sealed.headers().next().is_some()
    {
        return Err(OpenError::Malformed);
    }
    let payload = sealed.body();
    let (&format, rest) = payload.split_first().ok_or(OpenError::Malformed)?;
    if format != FORMAT {
        return Err(OpenError::Format(format));
    }
    let (key_id, rest) = rest.split_first_chunk().ok_or(OpenError::Malformed)?;
    let (nonce, rest) = rest
        .split_first_chunk::<NONCE>()
        .ok_or(OpenError::Malformed)?;
    let (enciphered, tag) = rest.split_last_chunk::<TAG>().ok_or(OpenError::Malformed)?;
    let (nonce, tag) = (XNonce::from(*nonce), Tag::from(*tag));
    let key_id = SealingKeyId::from_bytes(*key_id);
    let key = keys.iter().find(|key| key.id() == key_id);
    let key = key.ok_or(OpenError::UnknownKey(key_id))?;
    let mut opened = enciphered.to_vec();
    key.cipher
        .decrypt_inout_detached(
            &nonce,
            &place.associated_data(key_id),
            opened.as_mut_slice().into(),
            &tag,
        )
        .map_err(|_| OpenError::Forged(key_id))?;
    StoredResponse::decode(Bytes::from(opened)).map_err(OpenError::Inside)
}
