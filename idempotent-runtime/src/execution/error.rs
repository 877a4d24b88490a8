//! Why a response was not committed.

use std::{error::Error, fmt};

use crate::store::StoreError;

/// Why a response was not [committed](super::Execution::commit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitError {
    /// The run lost its claim: another run has taken its place, and its outcome is the one that
    /// retries get. Undo what can be undone.
    Fenced,
    /// A response was committed before; that one stays.
    Twice,
    /// The handler has returned before, and its response counts.
    Ended,
}

impl fmt::Display for CommitError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Fenced => "the run lost its claim to another run, whose outcome counts",
            Self::Twice => "a response of this run was committed before",
            Self::Ended => "the run has ended before, and its response counts",
        })
    }
}

impl Error for CommitError {}

/// Why a response was not [committed in a transaction](super::Execution::commit_in), or why it is
/// not known whether it was. Roll the transaction back, by dropping it.
#[derive(Debug)]
#[non_exhaustive]
pub enum CommitInError {
    /// The run lost its claim to another, or an earlier transaction of this run was committed:
    /// there is an outcome already, and retries get that one. The client is answered with it,
    /// whatever the handler returns.
    Fenced,
    /// A response was committed before; that one stays.
    Twice,
    /// The handler has returned before, and its response counts.
    Ended,
    /// The store keeps its records elsewhere than in this database.
    Unsupported,
    /// The record could not be written.
    Store(StoreError),
    /// The transaction could not be committed, or it is not known whether it was. If it was,
    /// the client is answered with the committed response, whatever the handler returns.
    Transaction(Box<dyn Error + Send + Sync>),
}

impl CommitInError {
    /// The status that says what has become of the operation: 503 where the transaction failed
    /// and nothing was done, so that the key is free for a retry (and if it was done after all,
    /// the retry is told); 500 for the others, which are mistakes of the handler.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Store(_) | Self::Transaction(_) => 503,
            Self::Fenced | Self::Twice | Self::Ended | Self::Unsupported => 500,
        }
    }
}

impl From<CommitError> for CommitInError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Fenced => Self::Fenced,
            CommitError::Twice => Self::Twice,
            CommitError::Ended => Self::Ended,
        }
    }
}

impl From<StoreError> for CommitInError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unsupported => Self::Unsupported,
            error => Self::Store(error),
        }
    }
}

impl fmt::Display for CommitInError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Fenced => "the operation has an outcome already, which counts",
            Self::Twice => "a response of this run was committed before",
            Self::Ended => "the run has ended before, and its response counts",
            Self::Unsupported => {
                "the idempotency store does not keep its records in this database: give \
                 `commit_in` a transaction of the database that the store is in"
            }
            Self::Store(_) => "the record could not be written in the transaction",
            Self::Transaction(_) => "the transaction could not be committed",
        })
    }
}

impl Error for CommitInError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::Transaction(error) => Some(&**error),
            Self::Fenced | Self::Twice | Self::Ended | Self::Unsupported => None,
        }
    }
}
