//! Why an operator's act was not carried out.

use std::{convert::Infallible, error::Error, fmt};

use crate::{core::key::KeyError, store::StoreError};

/// Why an operator's act was not carried out. Nothing was changed, unless it says otherwise.
#[derive(Debug)]
#[non_exhaustive]
pub enum OperatorError {
    /// The store cannot be looked at, or not in this way.
    Unsupported,
    /// What was given is no key.
    KeyInvalid(KeyError),
    /// Nothing is there: never was, or not any more.
    NotFound,
    /// A claim runs.
    StillRunning,
    /// There is an outcome already.
    AlreadyDone,
    /// The store could not be asked; whether it has carried the act out is unknown. Or it has no room,
    /// or what is there cannot be read, and nothing was changed.
    Store(StoreError),
}

impl fmt::Display for OperatorError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Unsupported => {
                "the store cannot do this: it must have `Store::as_inspect`, as all stores of this \
                 crate have, and a cursor must be one that it has given"
            }
            Self::KeyInvalid(_) => "this is no key: give it as the client sends it",
            Self::NotFound => {
                "nothing is there: operation, scope, key and namespace must be the handler's own, \
                 and what has expired or was released is gone"
            }
            Self::StillRunning => {
                "its handler runs: wait for its outcome; to forget it all the same lets a second \
                 run begin"
            }
            Self::AlreadyDone => {
                "it has an outcome already, which stands: to forget it all the same lets the \
                 handler have its effect once more"
            }
            Self::Store(StoreError::Unreadable(_)) => {
                "what is there cannot be read: only to forget it whatever it is makes its key free"
            }
            Self::Store(StoreError::Full) => {
                "the store has no room for this: try again when something has expired"
            }
            Self::Store(_) => "the store could not be asked: try again",
        })
    }
}

impl Error for OperatorError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::KeyInvalid(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::Unsupported | Self::NotFound | Self::StillRunning | Self::AlreadyDone => None,
        }
    }
}

impl From<StoreError> for OperatorError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unsupported => Self::Unsupported,
            error => Self::Store(error),
        }
    }
}

impl From<KeyError> for OperatorError {
    fn from(error: KeyError) -> Self {
        Self::KeyInvalid(error)
    }
}

impl From<Infallible> for OperatorError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
