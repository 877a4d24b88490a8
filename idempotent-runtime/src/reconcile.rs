//! What became of a run whose owner was lost.

use std::{fmt, future::Future, pin::Pin};

use crate::core::{record::ShortHash, response::StoredResponse};

/// A run whose owner was lost: its process ended, or stood still for longer than its lease. Whether
/// it had its effect is not known to the store.
///
/// Given to the hook that [`IdempotencyBuilder::reconcile`](crate::IdempotencyBuilder::reconcile)
/// registers. Its `Debug` output shows neither the key nor the caller.
#[non_exhaustive]
pub struct LostRun {
    /// The operation: method and route pattern, or the attribute's `operation`; what
    /// [`Idempotency::once`](crate::Idempotency::once) was given.
    pub operation: String,
    /// The record, as logs and events name it.
    pub record: ShortHash,
    /// The key the client sent; `None` where it was derived from the request.
    pub key: Option<String>,
    /// Whose key it is: what the scope's resolver answered, or the value of its expression. `None`
    /// with `scope = "global"`.
    pub caller: Option<String>,
}

impl fmt::Debug for LostRun {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LostRun")
            .field("operation", &self.operation)
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

/// What became of a lost run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // There is no fourth answer.
pub enum Reconciled {
    /// It was done, and this is the response. It is recorded, and sent as a replay. For a function it
    /// is made by [`StoredResponse::value`].
    Done(StoredResponse),
    /// It was not done: the handler runs.
    NotDone,
    /// Nobody knows: `on_lost` decides.
    Unknown,
}

pub(crate) type Reconciler =
    Box<dyn Fn(LostRun) -> Pin<Box<dyn Future<Output = Reconciled> + Send>> + Send + Sync>;
