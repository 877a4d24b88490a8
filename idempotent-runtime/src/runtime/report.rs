//! What happened to a request is told: to the log, to the metrics and to the hook.

use std::sync::atomic::Ordering;

use super::Inner;
use crate::{
    core::record::ShortHash,
    event::{Event, Outcome},
    observation::{Joined, Measures, Observation, Operation},
};

impl Inner {
    /// Whether somebody wants to know of every request.
    pub(crate) fn is_observed(&self) -> bool {
        self.is_measured() || tracing::enabled!(tracing::Level::DEBUG)
    }

    /// Whether somebody wants to know how long things take.
    pub(crate) fn is_measured(&self) -> bool {
        cfg!(feature = "metrics") || self.settings.hook.is_some()
    }

    /// Tells what happened to a request.
    pub(crate) fn report(
        &self,
        operation: Operation<'_>,
        record: Option<ShortHash>,
        outcome: Outcome,
        observation: Option<&Observation>,
    ) {
        if matches!(
            outcome,
            Outcome::Unprotected | Outcome::UnprotectedStoreDown | Outcome::UnprotectedDisabled
        ) {
            self.counts.unprotected.fetch_add(1, Ordering::Relaxed);
        }
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    operation = %Joined(operation.label()),
                    record = record.map(tracing::field::display),
                    outcome = outcome.name(),
                    "idempotency",
                )
            };
        }
        match outcome {
            Outcome::Misconfigured => log!(error),
            Outcome::UnprotectedStoreDown
            | Outcome::UnprotectedDisabled
            | Outcome::Forgotten
            | Outcome::CompletedByHand
            | Outcome::StoreUnavailable
            | Outcome::StoreFull
            | Outcome::Fenced
            | Outcome::Abandoned
            | Outcome::CompletionDelayed => log!(warn),
            _ => log!(debug),
        }
        if let Some(observation) = observation {
            observation.outcome(outcome);
        }
        if self.is_measured() {
            let measures = observation.map_or_else(Measures::default, Observation::take);
            self.tell(&Event {
                operation: &operation.parts().concat(),
                label: &operation.label().concat(),
                record,
                outcome,
                handler_time: measures.handler_time,
                wait_time: measures.wait_time,
                response_bytes: measures.response_bytes,
            });
        }
    }

    fn tell(&self, event: &Event<'_>) {
        #[cfg(feature = "metrics")]
        crate::metrics::request(event);
        if let Some(hook) = &self.settings.hook {
            hook(event);
        }
    }
}
