//! Why there is no answer.

use std::time::Duration;

use crate::{Attempts, IdempotencyKey, InvalidKey, KeyStoreError};

/// Why an operation has no answer. `E` is the error of the HTTP client.
///
/// [`Unanswered`](Self::Unanswered) is the only one that can leave an uncertain outcome; with all
/// the others nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperationError<E> {
    /// The last attempt got no answer.
    #[error("{attempts}")]
    Unanswered {
        /// How many attempts there were, and whether the outcome is certain.
        attempts: Box<Attempts>,
        /// How the last one failed.
        source: Failure<E>,
    },
    /// The key store refused, or could not be asked.
    #[error("{operation} was not sent")]
    KeyStore {
        /// The operation.
        operation: String,
        /// Why.
        source: KeyStoreError,
    },
    /// The operation has a name, and there is no store that could remember it.
    #[error(
        "{operation} was not sent: a named operation needs a key store. Give one to the client, \
         such as `FileKeyStore`, or use `Operation::new()`"
    )]
    NoKeyStore {
        /// The operation.
        operation: String,
    },
    /// The request's body can be read once only.
    #[error(
        "{operation} was not sent: its body is a stream, which cannot be sent again. Give the body \
         as bytes"
    )]
    BodyNotRepeatable {
        /// The operation.
        operation: String,
    },
    /// The request has an `Idempotency-Key` of its own that is not one.
    #[error("{operation} was not sent: its `Idempotency-Key` header is not valid")]
    InvalidKey {
        /// The operation.
        operation: String,
        /// What is wrong with it.
        source: InvalidKey,
    },
    /// The request has an `Idempotency-Key` of its own and an `Operation`, or several such headers.
    #[error(
        "{operation} was not sent: it has more than one key. Give either one `Idempotency-Key` \
         header or an `Operation`"
    )]
    SeveralKeys {
        /// The operation.
        operation: String,
    },
}

impl<E> OperationError<E> {
    /// How the attempts went; `None` if nothing was sent for a reason of its own.
    #[must_use]
    pub fn attempts(&self) -> Option<&Attempts> {
        match self {
            Self::Unanswered { attempts, .. } => Some(attempts),
            _ => None,
        }
    }

    /// Whether the operation may have been done.
    ///
    /// For a named one that is [`KeyStoreError::Stale`] an earlier run left it so.
    #[must_use]
    pub fn is_uncertain(&self) -> bool {
        match self {
            Self::Unanswered { attempts, .. } => !attempts.is_certain(),
            Self::KeyStore { source, .. } => matches!(source, KeyStoreError::Stale { .. }),
            _ => false,
        }
    }

    /// The key with which to send the operation again, if anything was sent.
    #[must_use]
    pub fn key(&self) -> Option<&IdempotencyKey> {
        self.attempts().map(Attempts::key)
    }
}

/// Why one attempt got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure<E> {
    /// There was no connection, or it broke, at whatever moment. The attempt is repeated.
    #[error("no answer")]
    Lost(#[source] E),
    /// It would fail again, and may have reached the server, as in a loop of redirections. It is
    /// not repeated, and the outcome is uncertain.
    #[error("no usable answer")]
    Fatal(#[source] E),
    /// It would fail again, and nothing left this machine, as with an address that is none. It is
    /// not repeated.
    #[error("the request cannot be sent")]
    NotSent(#[source] E),
    /// It took too long, and was given up. The attempt is repeated. The driver says this itself.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The key has become too old to be sent once more, for instance because the machine slept
    /// between two attempts. The driver says this itself.
    #[error("the key has become too old to be sent")]
    KeyExpired,
}
