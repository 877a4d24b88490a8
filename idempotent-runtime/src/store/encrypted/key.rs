//! The keys, and how one is told from another.

use std::{fmt, str::FromStr};

use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305};
use zeroize::{Zeroize as _, Zeroizing};

/// What the name of a key is derived with, so that it is of no use for anything else.
const ID_CONTEXT: &str = "idempotent-runtime 2026-11 id of a sealing key";

/// A secret key of 32 random bytes, under which records are sealed and opened.
///
/// Its memory is overwritten when it is dropped, and its `Debug` output shows only its
/// [id](Self::id).
///
/// ```
/// use idempotent_runtime::SealingKey;
///
/// // Such as `openssl rand -hex 32` prints.
/// let key: SealingKey =
///     "9f1b0c5e7a2d4f6083b5c7d9e1f30527496b8dafc1e3052749fb1d3f5a7c9e0b".parse()?;
/// assert_eq!(format!("{key:?}"), format!("SealingKey({})", key.id()));
/// # Ok::<(), idempotent_runtime::SealingKeyError>(())
/// ```
#[derive(Clone)]
pub struct SealingKey {
    id: SealingKeyId,
    /// In a box, because a key that is moved leaves its bytes behind.
    pub(super) cipher: Box<XChaCha20Poly1305>,
}

/// What tells keys apart: 8 bytes that are derived from the key, and from which nobody can find
/// it. Stored beside each record; written as 16 hexadecimal digits.
///
/// It is derived, and not chosen, so that no two processes can give one name to two keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SealingKeyId([u8; 8]);

impl SealingKey {
    /// The key of these bytes, which must be random: a password is not a key.
    #[must_use]
    pub fn new(mut bytes: [u8; 32]) -> Self {
        let mut derived = blake3::derive_key(ID_CONTEXT, &bytes);
        let id = SealingKeyId(std::array::from_fn(|index| derived[index]));
        let cipher = Box::new(XChaCha20Poly1305::new((&bytes).into()));
        bytes.zeroize();
        derived.zeroize();
        Self { id, cipher }
    }

    /// What this key is called in records, errors and logs.
    #[must_use]
    pub const fn id(&self) -> SealingKeyId {
        self.id
    }
}

/// Reads 64 hexadecimal digits, of either case.
impl FromStr for SealingKey {
    type Err = SealingKeyError;

    fn from_str(text: &str) -> Result<Self, SealingKeyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        if let Some(position) = text.bytes().position(|byte| !byte.is_ascii_hexdigit()) {
            return Err(SealingKeyError::Digit { position });
        }
        if text.len() != 64 {
            return Err(SealingKeyError::Length { digits: text.len() });
        }
        let value = |digit: u8| match digit {
            b'0'..=b'9' => digit - b'0',
            // Only hexadecimal digits are left.
            _ => (digit | 0x20) - b'a' + 10,
        };
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = value(digits[0]) << 4 | value(digits[1]);
        }
        Ok(Self::new(*bytes))
    }
}

impl SealingKeyId {
    pub(super) const BYTES: usize = 8;

    pub(super) const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The id's 8 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for SealingKeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for SealingKeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SealingKeyId({self})")
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SealingKey({})", self.id)
    }
}

/// Why a text is no key. Shows nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealingKeyError {
    /// It has another number of digits than 64.
    Length {
        /// How many it has.
        digits: usize,
    },
    /// Something in it is no hexadecimal digit: a space, a line end, a quote, a prefix.
    Digit {
        /// After how many bytes.
        position: usize,
    },
}

impl fmt::Display for SealingKeyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { digits } => write!(
                formatter,
                "a sealing key is 32 bytes in 64 hexadecimal digits, not {digits}"
            ),
            Self::Digit { position } => write!(
                formatter,
                "a sealing key is 64 hexadecimal digits and nothing else; byte {position} is none"
            ),
        }
    }
}

impl std::error::Error for SealingKeyError {}
