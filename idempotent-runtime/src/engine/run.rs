//! A run: the handler to its end, and the store told of it.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use tokio::time::{Instant, sleep};

use super::{
    Answer, PAUSES,
    lease::{renewal, renewing},
    release_later, spawn,
};
use crate::{
    core::{
        protocol::{self, Conclusion, Decision, Ending, Found, PANIC_STATUS},
        record::Claim,
        response::StoredResponse,
    },
    event::Outcome,
    execution::{Answered, Claimed, End, RunState},
    runtime::{AnyStore, Running},
    store::{Completion, Fence},
    web::Recordable,
};

/// A claim that is held. Dropped without an outcome, it is abandoned.
pub(crate) struct RunGuard {
    state: Arc<RunState>,
    _running: Running,
    /// Whether the store knows the outcome, or must not be told that there is none.
    settled: bool,
}

impl RunGuard {
    pub(super) fn new(state: Arc<RunState>) -> Self {
        Self {
            _running: state.runtime.0.running(),
            state,
            settled: false,
        }
    }

    fn claim(&self) -> Claim {
        self.state.claimed().claim
    }

    fn store(&self) -> &dyn AnyStore {
        &*self.state.runtime.0.store
    }

    fn report(&self, outcome: Outcome) {
        let Claimed { policy, claim, .. } = self.state.claimed();
        self.state
            .report(policy, Some(claim.id.short_hash()), outcome);
    }
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        // What was committed has happened, and is not to be done again.
        if !self.settled && !self.state.is_committed() {
            self.store().abandon(&self.claim());
            self.report(Outcome::Abandoned);
        }
    }
}

/// What the store is to be told of a run.
enum Verdict {
    Release,
    Record(StoredResponse, Outcome),
    /// The handler has told it by itself, and had this answer.
    Committed(StoredResponse, Answered),
}

/// Runs the handler to its end and settles its claim. The caller sees to it that this future is
/// polled to its end, whatever becomes of the request.
///
/// `handler` is driven where it is and not moved in, because a future that is moved into another
/// takes its room twice.
pub(crate) async fn execute<R: Recordable>(
    guard: RunGuard,
    handler: Pin<&mut impl Future<Output = R>>,
) -> Result<R, Answer> {
    let renewal = renewal(&guard.state);
    renewing(renewal, pin!(run(guard, handler))).await
}

async fn run<R: Recordable>(
    guard: RunGuard,
    handler: Pin<&mut impl Future<Output = R>>,
) -> Result<R, Answer> {
    let state = Arc::clone(&guard.state);
    // In a block, so that the future has no room for what is over when the store is told.
    let (response, verdict) = {
        let mut produce = pin!(produce(&state, handler));
        let produced = poll_fn(|context| {
            // After a panic the future is dropped and never looked at again.
            let poll = catch_unwind(AssertUnwindSafe(|| produce.as_mut().poll(context)));
            poll.map_or_else(|panic| Poll::Ready(Err(panic)), |poll| poll.map(Ok))
        })
        .await;
        match produced {
            Ok((response, verdict)) => (Ok(response), verdict),
            Err(panic) => (Err(panic), after_panic(&state)),
        }
    };
    let fenced = settle(guard, verdict).await;
    match (response, fenced) {
        (Err(panic), _) => resume_unwind(panic),
        (Ok(response), None) => Ok(response),
        (Ok(_), Some(found)) => {
            let Claimed { policy, claim, .. } = state.claimed();
            Err(
                match protocol::decide(policy, claim.fingerprint, found, false) {
                    Decision::Replay(response) => Answer::Replay(response),
                    Decision::Refuse(problem) => {
                        Answer::Refuse(problem.render(&state.runtime.0.problems))
                    }
                    Decision::Wait => unreachable!("it was told not to wait"),
                },
            )
        }
    }
}

/// The handler, and what is to be recorded of its response.
async fn produce<R: Recordable>(
    state: &RunState,
    handler: Pin<&mut impl Future<Output = R>>,
) -> (R, Verdict) {
    let response = handler.await;
    let released = match state.end() {
        End::Returned { released } => released,
        End::Committed(committed, answered) => {
            return (response, Verdict::Committed(committed, answered));
        }
    };
    let policy = state.claimed().policy;
    let ending = Ending::Returned {
        status: response.status(),
        released,
    };
    match protocol::conclude(policy, ending) {
        Conclusion::Release => (response, Verdict::Release),
        Conclusion::Complete => {
            let (response, stored) = response.record(policy.max_response).await;
            (response, Verdict::Record(stored, Outcome::Executed))
        }
    }
}

fn after_panic(state: &RunState) -> Verdict {
    if let End::Committed(committed, answered) = state.end() {
        return Verdict::Committed(committed, answered);
    }
    match protocol::conclude(state.claimed().policy, Ending::Panicked) {
        Conclusion::Release => Verdict::Release,
        Conclusion::Complete => {
            let response = StoredResponse::new(PANIC_STATUS, &[], b"");
            Verdict::Record(response, Outcome::Panicked)
        }
    }
}

/// Tells the store of the outcome. Gives what was found when the claim had been lost.
async fn settle(mut guard: RunGuard, verdict: Verdict) -> Option<Found> {
    guard.state.set_ending();
    let (response, outcome) = match verdict {
        Verdict::Release => {
            match guard.store().release(guard.claim()).await {
                Ok(Fence::Passed) => guard.report(Outcome::Released),
                Ok(Fence::Fenced) => guard.state.report_fenced(),
                Err(error) => {
                    tracing::warn!(
                        record = %guard.claim().id.short_hash(),
                        error = &error as &dyn std::error::Error,
                        "a key could not be released and will be tried again",
                    );
                    guard.report(Outcome::Released);
                    spawn(release_later(
                        Arc::clone(&guard.state.runtime.0),
                        guard.claim(),
                    ));
                }
            }
            guard.settled = true;
            return None;
        }
        Verdict::Committed(_, Answered::Stored) => {
            guard.settled = true;
            guard.report(Outcome::Executed);
            return None;
        }
        // Another run's outcome counts, even if nothing is left of it by now: this one was told so,
        // and may have undone what it did.
        Verdict::Committed(_, Answered::Fenced(found)) => {
            guard.settled = true;
            guard.state.report_fenced();
            return Some(found);
        }
        Verdict::Committed(response, Answered::Unknown) => (response, Outcome::Executed),
        Verdict::Record(response, outcome) => (response, outcome),
    };
    let outcome = if response.is_tombstone() {
        Outcome::Tombstoned
    } else {
        outcome
    };
    // From here on the effect is known to have happened: whatever fails, the key is not freed.
    guard.settled = true;
    match guard.state.complete(&response).await {
        Ok(Completion::Stored) => {
            guard.report(outcome);
            None
        }
        Ok(Completion::Fenced(found)) => {
            guard.state.report_fenced();
            Some(found)
        }
        Err(error) => {
            tracing::error!(
                record = %guard.claim().id.short_hash(),
                error = &error as &dyn std::error::Error,
                "an outcome could not be recorded and will be tried again",
            );
            guard.report(Outcome::CompletionDelayed);
            spawn(async move {
                let renewal = renewal(&guard.state);
                renewing(renewal, pin!(complete_later(guard, response, outcome))).await;
            });
            None
        }
    }
}

/// Tries to record an outcome until the store takes it. Gives up when the record would have
/// expired.
async fn complete_later(guard: RunGuard, response: StoredResponse, outcome: Outcome) {
    let [mut pause, longest] = PAUSES;
    let claim = guard.claim();
    let deadline = Instant::now() + claim.ttl;
    while Instant::now() < deadline {
        sleep(pause).await;
        pause = (pause * 2).min(longest);
        match guard.state.complete(&response).await {
            Ok(Completion::Stored) => return guard.report(outcome),
            Ok(Completion::Fenced(_)) => return guard.state.report_fenced(),
            Err(_) => {}
        }
    }
    tracing::error!(
        record = %claim.id.short_hash(),
        "an outcome could not be recorded for as long as its record would have lived",
    );
}
