//! What happened to a request, for logs and for the builder's hook.

use std::{fmt, time::Duration};

use crate::core::record::ShortHash;

/// What happened to one request of a protected operation, or what an operator did to a record.
///
/// It names the operation and a short hash of the record id; never the key, the caller or a body.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Event<'a> {
    /// The operation: method and route pattern, or the attribute's `operation`; what
    /// [`Idempotency::once`](crate::Idempotency::once) was given. A body over the
    /// limit is refused before the attribute is known, so its event always has the former. What an
    /// operator named, where one acted; empty where that was a record id.
    pub operation: &'a str,
    /// The operation as a metric's label. It differs where [`operation`](Self::operation) depends
    /// on what a client sends: a request without a route has `(no route)` in the place of its path,
    /// and a method that nobody knows is `_OTHER`. So there are no more labels than routes. Logs and
    /// spans have it too. Empty where an operator acted, who may name what no route has.
    pub label: &'a str,
    /// Which record; `None` when the request has none.
    pub record: Option<ShortHash>,
    /// What happened.
    pub outcome: Outcome,
    /// How long the handler ran, to its end or its panic, under a claim. Told once, with the first
    /// event after that.
    pub handler_time: Option<Duration>,
    /// How long the request waited for a running one. Told once.
    pub wait_time: Option<Duration>,
    /// How many bytes the body has that was recorded or is sent again.
    pub response_bytes: Option<u64>,
}

/// The outcomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The handler ran and its response was recorded.
    Executed,
    /// The handler ran; its response was too large or a stream, and a tombstone was recorded.
    Tombstoned,
    /// The handler ran and its outcome released the key.
    Released,
    /// The handler panicked; that was recorded as a 500.
    Panicked,
    /// The recorded response was sent again.
    Replayed,
    /// A lost run was found to have been done, and its response was sent.
    Reconciled,
    /// The request waited for the running one, and got its response.
    WaitedThenReplayed,
    /// The handler ran unprotected: the request had no key, and needs none.
    Unprotected,
    /// The handler ran unprotected: the store could not be asked, and the policy says run.
    UnprotectedStoreDown,
    /// The handler ran unprotected: protection is [turned off](crate::Idempotency::disable).
    UnprotectedDisabled,
    /// An operator has made the key free.
    Forgotten,
    /// An operator has given the outcome of a lost run.
    CompletedByHand,
    /// Refused: no key.
    KeyMissing,
    /// Refused: not a key.
    KeyInvalid,
    /// Refused: the scope's resolver does not know the caller.
    CallerUnknown,
    /// Refused: the operation is running.
    InFlight,
    /// Refused: the key belongs to another request.
    KeyReused,
    /// Refused: a run was lost.
    OutcomeUnknown,
    /// Refused: done, and the response was not kept.
    ResponseNotKept,
    /// Refused: the body is over the limit.
    BodyTooLarge,
    /// Refused: the application is not set up.
    Misconfigured,
    /// Refused: the store could not be asked.
    StoreUnavailable,
    /// Refused: the store has no room.
    StoreFull,
    /// A run lost its claim to another.
    Fenced,
    /// A run ended without an outcome.
    Abandoned,
    /// An outcome could not be recorded, and will be tried again.
    CompletionDelayed,
}

impl Outcome {
    /// All there are.
    pub const ALL: [Self; 26] = [
        Self::Executed,
        Self::Tombstoned,
        Self::Released,
        Self::Panicked,
        Self::Replayed,
        Self::Reconciled,
        Self::WaitedThenReplayed,
        Self::Unprotected,
        Self::UnprotectedStoreDown,
        Self::UnprotectedDisabled,
        Self::Forgotten,
        Self::CompletedByHand,
        Self::KeyMissing,
        Self::KeyInvalid,
        Self::CallerUnknown,
        Self::InFlight,
        Self::KeyReused,
        Self::OutcomeUnknown,
        Self::ResponseNotKept,
        Self::BodyTooLarge,
        Self::Misconfigured,
        Self::StoreUnavailable,
        Self::StoreFull,
        Self::Fenced,
        Self::Abandoned,
        Self::CompletionDelayed,
    ];

    /// The outcome's stable name, such as `waited-then-replayed`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::Tombstoned => "tombstoned",
            Self::Released => "released",
            Self::Panicked => "panicked",
            Self::Replayed => "replayed",
            Self::Reconciled => "reconciled",
            Self::WaitedThenReplayed => "waited-then-replayed",
            Self::Unprotected => "unprotected",
            Self::UnprotectedStoreDown => "unprotected-store-down",
            Self::UnprotectedDisabled => "unprotected-disabled",
            Self::Forgotten => "forgotten",
            Self::CompletedByHand => "completed-by-hand",
            Self::KeyMissing => "key-missing",
            Self::KeyInvalid => "key-invalid",
            Self::CallerUnknown => "caller-unknown",
            Self::InFlight => "in-flight",
            Self::KeyReused => "key-reused",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::ResponseNotKept => "response-not-kept",
            Self::BodyTooLarge => "body-too-large",
            Self::Misconfigured => "misconfigured",
            Self::StoreUnavailable => "store-unavailable",
            Self::StoreFull => "store-full",
            Self::Fenced => "fenced",
            Self::Abandoned => "abandoned",
            Self::CompletionDelayed => "completion-delayed",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
