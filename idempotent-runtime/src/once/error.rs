//! Why a function has no value for its caller.

use std::{error::Error, fmt, time::Duration};

use crate::{
    core::{key::KeyError, problem::Problem, value::NotRead},
    store::StoreError,
};

/// Why a call of [`Idempotency::once`](crate::Idempotency::once) has no value.
///
/// With each of them but [`Overtaken`](Self::Overtaken) the function did **not** run in this call, so
/// that nothing has happened here. What happened under the key before is another matter, which the
/// variants tell. Nothing of the key, the scope or a recorded value is part of a message.
#[derive(Debug)]
#[non_exhaustive]
pub enum OnceError {
    /// It is running now, in this process or in another one. Call again later; a consumer gives
    /// its message back, to be delivered again.
    InFlight {
        /// How long to wait: a second while the other run shows signs of life, else until its
        /// lease ends.
        retry_after: Duration,
    },
    /// The function ran in this call, and lost its claim to another run: this process stood still
    /// for longer than the lease, or somebody has forgotten the claim. What it did counts for
    /// nothing, and may have happened twice: compare. Within is what the other run has come to.
    Overtaken(Box<Self>),
    /// The process that ran it is gone, and `on_lost` forbids to run it again. Somebody has to
    /// find out what happened; see
    /// [`IdempotencyBuilder::reconcile`](crate::IdempotencyBuilder::reconcile).
    OutcomeUnknown,
    /// It was done, and the value was larger than `max_response`, or could not be serialised: it
    /// was not kept.
    ValueNotKept,
    /// It was done, or begun: the function panicked, and nobody knows how far it came.
    Panicked,
    /// The key was used for something else: with another payload, or for a request to a handler
    /// of the same operation.
    KeyReused,
    /// The key is none.
    KeyInvalid(KeyError),
    /// The scope has a name and no value, which would be everybody's who leaves it empty.
    ScopeEmpty,
    /// The payload cannot be serialised.
    Payload(Box<dyn Error + Send + Sync>),
    /// It was done, and what is recorded is no value of the type that is asked for: the type was
    /// changed, or two functions have one operation. Call it with the type that it was recorded
    /// with.
    Undecodable(Box<dyn Error + Send + Sync>),
    /// The store could not be asked. Call again later.
    StoreUnavailable(StoreError),
    /// The store has a record that cannot be read: it is damaged, or sealed under a key that is
    /// not there. It may say that this was done.
    Unreadable(StoreError),
    /// The store has no room for another record. Call again later.
    StoreFull,
}

impl OnceError {
    /// Whether the same call may succeed later, without anybody doing something about it.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retry_after().is_some()
    }

    /// When to call again, where that may help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::InFlight { retry_after } => Some(*retry_after),
            Self::Overtaken(other) => other.retry_after(),
            Self::StoreUnavailable(_) | Self::StoreFull => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// The error that a refusal is to the caller of a function.
    pub(super) fn of(problem: Problem, failure: Option<StoreError>) -> Self {
        match problem {
            Problem::InFlight { retry_after } => Self::InFlight {
                retry_after: Duration::from_secs(retry_after),
            },
            Problem::OutcomeUnknown => Self::OutcomeUnknown,
            Problem::ResponseNotKept { .. } => Self::ValueNotKept,
            Problem::KeyReused => Self::KeyReused,
            Problem::KeyInvalid(error) => Self::KeyInvalid(error),
            Problem::CallerUnknown => Self::ScopeEmpty,
            Problem::StoreFull => Self::StoreFull,
            Problem::StoreUnavailable => match failure {
                Some(error @ StoreError::Unavailable(_)) => Self::StoreUnavailable(error),
                Some(error) => Self::Unreadable(error),
                None => Self::StoreUnavailable(StoreError::unavailable("no answer in time")),
            },
            Problem::KeyMissing | Problem::BodyTooLarge | Problem::Misconfigured => {
                unreachable!("only a request is refused so: a call brings key and scope along")
            }
        }
    }
}

impl From<NotRead> for OnceError {
    fn from(not_read: NotRead) -> Self {
        match not_read {
            NotRead::Panicked => Self::Panicked,
            NotRead::NoValue => Self::Undecodable("it is a response of a handler".into()),
            NotRead::DoesNotFit { column } => {
                Self::Undecodable(format!("it does not fit the type at column {column}").into())
            }
        }
    }
}

impl fmt::Display for OnceError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::InFlight { retry_after } => {
                let seconds = retry_after.as_secs();
                return write!(
                    formatter,
                    "the operation is running; call again in {seconds} s"
                );
            }
            Self::Overtaken(_) => {
                "the operation was run in this call and, by another one, once more: it may have \
                 been done twice"
            }
            Self::OutcomeUnknown => {
                "the process that ran the operation is gone, and it is not known whether it was \
                 done; find out before it is started over with another key"
            }
            Self::ValueNotKept => {
                "the operation was done, and its value was not kept; `max_response` is the limit"
            }
            Self::Panicked => {
                "the operation panicked, and it is not known how far it came; find out before it \
                 is started over with another key"
            }
            Self::KeyReused => {
                "the key belongs to a call with another payload, or to a request; use a key of its \
                 own for each operation"
            }
            Self::KeyInvalid(_) => "the key is none",
            Self::ScopeEmpty => "the scope has an empty value, which is nobody's; give it a value",
            Self::Payload(_) => "the payload cannot be serialised",
            Self::Undecodable(_) => {
                "the operation was done, and the recorded value is not of the type that is asked \
                 for"
            }
            Self::StoreUnavailable(_) => "the idempotency store could not be asked; call again",
            Self::Unreadable(_) => "a record is there that cannot be read",
            Self::StoreFull => "the idempotency store is full; call again later",
        })
    }
}

impl Error for OnceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::KeyInvalid(error) => Some(error),
            Self::Payload(error) | Self::Undecodable(error) => Some(&**error),
            Self::StoreUnavailable(error) | Self::Unreadable(error) => Some(error),
            Self::Overtaken(other) => Some(&**other),
            _ => None,
        }
    }
}
