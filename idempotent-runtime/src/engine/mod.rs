//! The only async driver: protocol × store × clock.

mod claim;
mod detach;
mod guard;
mod lease;
mod reconcile;
mod run;
mod settle;

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

pub(crate) use self::{
    claim::{Wanted, begin},
    detach::{Detachable, spawn},
    guard::RunGuard,
    run::execute,
};
use crate::{
    core::{
        policy::OnLost,
        problem::{Problem, RenderedProblem},
        record::Claim,
        response::StoredResponse,
    },
    event::Outcome,
    runtime::Inner,
    store::StoreError,
};

/// The first and the longest pause between attempts to tell the store of an outcome.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// What becomes of a request.
pub(crate) enum Begun {
    /// The handler must run, under this guard.
    Run(RunGuard),
    /// The handler runs without protection.
    Unprotected,
    Answer(Answer),
}

/// An answer that is not the handler's.
pub(crate) enum Answer {
    Replay(StoredResponse),
    Refuse(RenderedProblem),
}

/// Frees a key under which nothing has happened, and tries for as long as the claim stands in the
/// way of others: after that it has ended by itself, or, in a store without leases, is ended here.
///
/// A claim that took the place of a lost run is not released but lost again: something may have
/// happened under its key before.
fn release_later(inner: Arc<Inner>, claim: Claim) -> impl Future<Output = ()> + Send {
    // `drain` waits for it from now on, and not from when it is first polled.
    let mut place = (Some(inner.releasing()), None);
    async move {
        if claim.takes_over {
            return inner.store.abandon(&claim);
        }
        let [mut pause, mut longest] = PAUSES;
        let lease_end = Instant::now() + claim.lease;
        let stands = match claim.on_lost {
            OnLost::Rerun => claim.lease,
            OnLost::Refuse => claim.lease + claim.ttl,
        };
        let deadline = Instant::now() + stands;
        while Instant::now() < deadline {
            match inner.store.release(claim).await {
                Ok(_) => return,
                Err(StoreError::Unreadable(_) | StoreError::Unsupported) => break,
                Err(_) => {}
            }
            if place.0.is_some() && Instant::now() >= lease_end {
                // Nobody waits for this as long as a ttl, and of a store that is away for long
                // not everybody asks for ever.
                place = (None, inner.start_releasing_late());
                longest = Duration::from_mins(1);
                if place.1.is_none() {
                    tracing::warn!(
                        record = %claim.id.short_hash(),
                        "a key under which nothing has happened could not be freed: the store is \
                         away, and too many others wait for it",
                    );
                    break;
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
        let on_lost = OnLost::Rerun;
        inner.store.abandon(&Claim { on_lost, ..claim });
    }
}

/// The event that a refusal is reported as.
pub(crate) fn refusal(problem: &Problem) -> Outcome {
    match problem {
        Problem::KeyMissing => Outcome::KeyMissing,
        Problem::KeyInvalid(_) => Outcome::KeyInvalid,
        Problem::CallerUnknown => Outcome::CallerUnknown,
        Problem::InFlight { .. } => Outcome::InFlight,
        Problem::OutcomeUnknown => Outcome::OutcomeUnknown,
        Problem::ResponseNotKept { .. } => Outcome::ResponseNotKept,
        Problem::BodyTooLarge => Outcome::BodyTooLarge,
        Problem::KeyReused => Outcome::KeyReused,
        Problem::Misconfigured => Outcome::Misconfigured,
        Problem::StoreUnavailable => Outcome::StoreUnavailable,
        Problem::StoreFull => Outcome::StoreFull,
    }
}
