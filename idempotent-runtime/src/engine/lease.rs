//! Keeping a claim alive beside its run.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    task::unconstrained,
    time::{Instant, sleep, timeout},
};

use super::{Answer, Begun, RunGuard, refusal, release_later, spawn};
use crate::{
    any_store::StoreFuture,
    core::{problem::Problem, record::Claim},
    execution::RunState,
    store::{ClaimAnswer, Fence, StoreError},
};

/// What renews the lease of a run, where the store needs one.
pub(super) fn renewal(state: &Arc<RunState>) -> Option<Pin<Box<impl Future<Output = ()> + use<>>>> {
    let needs_lease = state.runtime.0.store.needs_lease();
    // Out of the task's budget, which a handler that always has something to do uses up.
    needs_lease.then(|| Box::pin(unconstrained(renew(Arc::clone(state)))))
}

/// Drives a run, and renews its lease beside it.
pub(super) async fn renewing<T>(
    mut renewal: Option<Pin<Box<impl Future<Output = ()>>>>,
    mut run: Pin<&mut impl Future<Output = T>>,
) -> T {
    poll_fn(|context| {
        let poll = run.as_mut().poll(context);
        if poll.is_pending()
            && let Some(renewing) = &mut renewal
            && renewing.as_mut().poll(context).is_ready()
        {
            renewal = None;
        }
        poll
    })
    .await
}

/// How often a claim is made sure of by a store that is slow to answer.
const ASSURANCES: usize = 3;

/// Makes sure, before its handler runs, of a claim that was granted a while ago.
pub(super) async fn still_held(guard: RunGuard) -> Begun {
    let state = Arc::clone(&guard.state);
    let inner = &state.runtime.0;
    let claim = state.claimed().claim;
    let mut held = Err(StoreError::unavailable("too slow for the lease"));
    for _ in 0..ASSURANCES {
        let asked = Instant::now();
        held = inner.store.renew(claim).await;
        if !matches!(held, Ok(Fence::Passed)) {
            break;
        }
        // An answer may come so late that the lease which it speaks of is over again.
        if asked.elapsed() < claim.lease / 3 {
            return Begun::Run(guard);
        }
        held = Err(StoreError::unavailable("too slow for the lease"));
    }
    let problem = match held {
        // Somebody else has it, and this one has done nothing: no run was overtaken.
        Ok(_) => Problem::InFlight { retry_after: 1 },
        Err(error) => {
            tracing::error!(
                record = %claim.id.short_hash(),
                error = &error as &dyn std::error::Error,
                "a lease could not be renewed before its handler was to run",
            );
            state.target.keep_failure(error);
            spawn(release_later(Arc::clone(inner), claim));
            Problem::StoreUnavailable
        }
    };
    guard.forget();
    let record = Some(claim.id.short_hash());
    state.report(&state.claimed().policy, record, refusal(&problem));
    Begun::Answer(Answer::Refuse(state.render(&problem)))
}

/// What came of asking for a claim again.
enum Regained {
    Yes,
    /// It is not known.
    Later,
    No,
}

/// Asks for a claim again that is not there any more: a store that has forgotten all, or a lease
/// that ended while nobody came, leaves the id to its owner, who is still at work.
async fn regained(state: &Arc<RunState>) -> Regained {
    let claim = Claim {
        takes_over: false,
        ..state.claimed().claim
    };
    let asked = Regaining {
        state,
        claim,
        answer: Some(state.runtime.0.store.claim(&claim)),
    };
    // What comes later than that is seen to when it comes, and is renewed meanwhile.
    let Ok(answer) = timeout(claim.lease / 6, asked).await else {
        return Regained::Later;
    };
    match answer {
        Ok(ClaimAnswer::Claimed) if state.is_releasing() => {
            spawn(release_later(Arc::clone(&state.runtime.0), claim));
            Regained::No
        }
        // Also while an outcome is on its way: then the key is not freed by anybody.
        Ok(ClaimAnswer::Claimed) => {
            tracing::warn!(
                record = %claim.id.short_hash(),
                "the store had forgotten a claim whose run is not over; it was claimed again",
            );
            state.set_forgotten();
            Regained::Yes
        }
        Ok(ClaimAnswer::Found(_)) | Err(StoreError::Unreadable(_)) => {
            // Its own record is what it ended with.
            if !state.is_ending() {
                state.report_fenced();
            }
            Regained::No
        }
        Err(_) => Regained::Later,
    }
}

/// A claim that is being asked for again. Dropped before the answer, because its run is over or the
/// store is slow, it is given back if that run has freed its key by then.
struct Regaining<'a> {
    state: &'a Arc<RunState>,
    claim: Claim,
    answer: Option<StoreFuture<ClaimAnswer>>,
}

impl Future for Regaining<'_> {
    type Output = Result<ClaimAnswer, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.answer.as_mut().expect("polled until it is ready");
        let answer = std::task::ready!(Pin::new(answer).poll(context));
        self.answer = None;
        Poll::Ready(answer)
    }
}

impl Drop for Regaining<'_> {
    fn drop(&mut self) {
        let Some(answer) = self.answer.take() else {
            return;
        };
        let state = Arc::clone(self.state);
        let release = release_later(Arc::clone(&state.runtime.0), self.claim);
        spawn(async move {
            let answer = answer.await;
            let may_be_held = matches!(
                answer,
                Ok(ClaimAnswer::Claimed) | Err(StoreError::Unavailable(_))
            );
            if state.is_releasing() && may_be_held {
                release.await;
            }
        });
    }
}

/// Renews a lease for as long as there is one.
///
/// A renewal that fails or does not answer is tried again soon: several times before the lease
/// ends.
async fn renew(state: Arc<RunState>) {
    let claim = state.claimed().claim;
    let (regular, soon) = (claim.lease / 3, claim.lease / 12);
    let mut pause = regular;
    loop {
        sleep(pause).await;
        let renewal = state.runtime.0.store.renew(claim);
        pause = match timeout(claim.lease / 6, renewal).await {
            Ok(Ok(Fence::Passed)) => regular,
            // Not lost, but ended by this very run.
            Ok(Ok(Fence::Fenced)) if state.is_releasing() => return,
            Ok(Ok(Fence::Fenced)) => match regained(&state).await {
                Regained::Yes => regular,
                Regained::Later => soon,
                Regained::No => return,
            },
            Ok(Err(error)) => {
                tracing::warn!(
                    record = %claim.id.short_hash(),
                    error = &error as &dyn std::error::Error,
                    "a lease could not be renewed and will be tried again",
                );
                soon
            }
            Err(_) => {
                #[cfg(feature = "metrics")]
                crate::metrics::renewal_timed_out();
                tracing::warn!(
                    record = %claim.id.short_hash(),
                    "the store did not answer a renewal in time; it will be tried again",
                );
                // Waiting for it was pause enough.
                Duration::ZERO
            }
        };
    }
}
