//! What it took to get an answer.

use std::fmt;

use crate::{IdempotencyKey, KeyFate};

/// How an operation went: how many attempts it took, and whether its outcome is certain now.
///
/// `Debug` output shows the key as a short hash.
#[derive(Clone, Debug)]
pub struct Attempts {
    pub(crate) operation: String,
    pub(crate) is_named: bool,
    pub(crate) key: IdempotencyKey,
    pub(crate) count: u32,
    pub(crate) is_replay: bool,
    pub(crate) is_certain: bool,
    pub(crate) fate: KeyFate,
}

impl Attempts {
    /// How many times the request was sent, the last one included.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether the answer is the recorded one of an earlier attempt.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.is_replay
    }

    /// Whether it is known what became of the operation: it was done, or nothing was and nothing
    /// will be by any attempt. Otherwise an attempt may have done it or may still do it.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.is_certain
    }

    /// Whether the next run of the operation must have, and for a named one will have, the same
    /// key. That is so after an uncertain outcome. A named operation that is done has the same key
    /// until it expires, and is replayed.
    #[must_use]
    pub fn is_key_kept(&self) -> bool {
        self.fate == KeyFate::Kept
    }

    /// The key that was sent. Only for an operation without a name is there a reason to keep it.
    #[must_use]
    pub fn key(&self) -> &IdempotencyKey {
        &self.key
    }

    /// The operation, as errors call it: by its name, or by a short hash of its key.
    #[must_use]
    pub fn operation(&self) -> &str {
        &self.operation
    }
}

/// As the middle of an error's sentence.
impl fmt::Display for Attempts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operation, count) = (&self.operation, self.count);
        let attempts = if count == 1 { "attempt" } else { "attempts" };
        if self.is_certain {
            return write!(formatter, "{operation} was not sent, so nothing was done");
        }
        write!(
            formatter,
            "{operation} has an uncertain outcome after {count} {attempts}: it may have been done. "
        )?;
        formatter.write_str(match (self.is_named, self.is_key_kept()) {
            (true, true) => "Its key is kept: run it again by the same name, or find out",
            (true, false) => "Its key is not in the store any more: find out before you run it",
            (false, _) => {
                "Its key is kept in this error: send the same with `Operation::with_key`, or find out"
            }
        })
    }
}
