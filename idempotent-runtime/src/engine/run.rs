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
    any_store::{AnyStore, CompleteError},
    core::{
        protocol::{self, Conclusion, Decision, Ending, Found, May, PANIC_STATUS},
        record::Claim,
        response::StoredResponse,
    },
    event::Outcome,
    execution::{Answered, Claimed, End, RunState},
    recordable::{Recordable, sealed::Recording},
    runtime::Running,
    store::{ClaimAnswer, Completion, Fence, StoreError},
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

    pub(super) fn state(&self) -> &Arc<RunState> {
        &self.state
    }

    /// Lets go of the claim without a word to the store.
    pub(super) fn forget(mut self) {
        self.settled = true;
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
        if !self.settled && !self.state.may_be_committed() {
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
    Committed(StoredResponse, Box<Answered>),
}

/// Runs the handler to its end and settles its claim. The caller sees to it that this future is
/// polled to its end, whatever becomes of the request.
///
/// `handler` is driven where it is and not moved in, because a future that is moved into another
/// takes its room twice. Nor are this, `run` and `settle` functions that are `async`, which have
/// room for their arguments twice: the whole should stay under the 1,032 bytes that glibc's
/// allocator hands out fast.
#[expect(clippy::manual_async_fn)]
pub(crate) fn execute<R: Recordable>(
    guard: RunGuard,
    handler: Pin<&mut impl Future<Output = R>>,
) -> impl Future<Output = Result<R, Answer>> {
    async move {
        let renewal = renewal(&guard.state);
        renewing(renewal, pin!(run(guard, handler))).await
    }
}

#[expect(clippy::manual_async_fn)]
fn run<R: Recordable>(
    guard: RunGuard,
    handler: Pin<&mut impl Future<Output = R>>,
) -> impl Future<Output = Result<R, Answer>> {
    async move {
        let state = Arc::clone(&guard.state);
        // In a block, so that the future has no room for what is over when the store is told.
        let (response, settle) = {
            let mut produce = pin!(produce(&state, handler));
            let produced = poll_fn(|context| {
                // After a panic the future is dropped and never looked at again.
                let poll = catch_unwind(AssertUnwindSafe(|| produce.as_mut().poll(context)));
                poll.map_or_else(|panic| Poll::Ready(Err(panic)), |poll| poll.map(Ok))
            })
            .await;
            let (response, verdict) = match produced {
                Ok((response, verdict)) => (Ok(response), verdict),
                Err(panic) => (Err(panic), after_panic(&state)),
            };
            (response, settle(guard, verdict))
        };
        match (response, settle.await) {
            (Err(panic), _) => resume_unwind(panic),
            (Ok(response), None) => Ok(response),
            (Ok(_), Some(found)) => Err(answer(&state, found)),
        }
    }
}

/// Records the outcome of a run that this guard took the place of.
pub(super) async fn record(guard: RunGuard, response: StoredResponse, outcome: Outcome) -> Answer {
    let state = Arc::clone(&guard.state);
    let response = state.runtime.0.dated(response, state.claimed().claim.ttl);
    let found = Found::Done {
        fingerprint: state.claimed().claim.fingerprint,
        response: response.clone(),
        ttl_left: state.claimed().claim.ttl,
    };
    let other = settle(guard, Verdict::Record(response, outcome)).await;
    answer(&state, other.unwrap_or(found))
}

/// What the handler's own transaction has recorded, when nobody has told whether it was
/// committed. The store has been told the handler's outcome by now: it waited for the transaction
/// to end, and took that outcome only if nothing was there.
async fn committed(state: &RunState, recorded: Option<StoredResponse>) -> Option<Found> {
    let store = &state.runtime.0.store;
    let claim = Claim {
        takes_over: false,
        ..state.claimed().claim
    };
    match store.claim(&claim).await {
        Ok(ClaimAnswer::Found(Found::Done { response, .. }))
            if Some(&response) == recorded.as_ref() =>
        {
            None
        }
        Ok(ClaimAnswer::Found(found @ Found::Done { .. })) => Some(found),
        Ok(ClaimAnswer::Found(_)) => None,
        Ok(ClaimAnswer::Claimed) => {
            // It had been released, and is the owner's again. Unless there is an outcome to be
            // recorded: then that is still being tried, and the key is not freed.
            if recorded.is_none() {
                spawn(release_later(Arc::clone(&state.runtime.0), claim));
            }
            None
        }
        Err(error) => {
            tracing::warn!(
                record = %claim.id.short_hash(),
                error = &error as &dyn std::error::Error,
                "it is not known whether a handler's transaction was committed; the client gets \
                 the handler's response, and a retry gets what is recorded",
            );
            None
        }
    }
}

/// The answer of a run in whose place another outcome was found.
fn answer(state: &RunState, found: Found) -> Answer {
    match protocol::decide(&state.claimed().claim, found, May::default()) {
        Decision::Replay(response) => Answer::Replay(response),
        Decision::Refuse(problem) => Answer::Refuse(state.render(&problem)),
        Decision::Wait | Decision::TakeOver => unreachable!("it may do neither"),
    }
}

/// The handler, and what is to be recorded of its response.
///
/// A response is handed from function to function and is no variable here: the future would have
/// room for it.
async fn produce<R: Recordable>(
    state: &RunState,
    handler: Pin<&mut impl Future<Output = R>>,
) -> (R, Verdict) {
    if let Some(observation) = state.observation() {
        observation.handler_starts();
    }
    let reading = match judge(state, handler.await) {
        Judged::Settled(response, verdict) => return (response, verdict),
        Judged::Reading(reading) => reading,
    };
    let (response, stored) = reading.await;
    (response, Verdict::Record(stored, Outcome::Executed))
}

/// What a handler's response has come to.
enum Judged<R, F> {
    Settled(R, Verdict),
    /// It is to be recorded, and its body is still to come.
    Reading(Pin<Box<F>>),
}

fn judge<R: Recordable>(
    state: &RunState,
    response: R,
) -> Judged<R, impl Future<Output = (R, StoredResponse)>> {
    if let Some(observation) = state.observation() {
        observation.handler_ended();
    }
    let released = match state.end() {
        End::Returned { released } => released,
        End::Committed(committed, answered) => {
            let response = state.dated_as(response, &committed);
            let verdict = Verdict::Committed(committed, Box::new(answered));
            return Judged::Settled(response, verdict);
        }
    };
    let policy = &state.claimed().policy;
    let ending = Ending::Returned {
        status: response.status(),
        released,
    };
    match protocol::conclude(policy, ending) {
        Conclusion::Release => Judged::Settled(response, Verdict::Release),
        Conclusion::Complete => match state.dated(response).record(policy.max_response) {
            Recording::Done(response, stored) => {
                Judged::Settled(response, Verdict::Record(stored, Outcome::Executed))
            }
            Recording::Reading(reading) => Judged::Reading(reading),
        },
    }
}

fn after_panic(state: &RunState) -> Verdict {
    if let Some(observation) = state.observation() {
        observation.handler_ended();
    }
    if let End::Committed(committed, answered) = state.end() {
        return Verdict::Committed(committed, Box::new(answered));
    }
    match protocol::conclude(&state.claimed().policy, Ending::Panicked) {
        Conclusion::Release => Verdict::Release,
        Conclusion::Complete => {
            let response = StoredResponse::new(PANIC_STATUS, &[], b"");
            let ttl = state.claimed().claim.ttl;
            let response = state.runtime.0.dated(response, ttl);
            Verdict::Record(response, Outcome::Panicked)
        }
    }
}

/// Tells the store of the outcome. Gives what was found when the claim had been lost, or when the
/// handler's own transaction had recorded another outcome.
#[expect(clippy::manual_async_fn)]
fn settle(mut guard: RunGuard, verdict: Verdict) -> impl Future<Output = Option<Found>> + Send {
    async move {
        guard.state.set_ending();
        let (response, outcome) = match verdict {
            Verdict::Release => {
                guard.state.set_releasing();
                match guard.store().release(guard.claim()).await {
                    Ok(Fence::Passed) => guard.report(Outcome::Released),
                    Ok(Fence::Fenced) if guard.state.is_in_doubt() => {
                        guard.settled = true;
                        guard.report(Outcome::Executed);
                        return Box::pin(committed(&guard.state, None)).await;
                    }
                    Ok(Fence::Fenced) => guard.state.report_fenced(),
                    Err(error) => {
                        tracing::warn!(
                            record = %guard.claim().id.short_hash(),
                            error = &error as &dyn std::error::Error,
                            "a key could not be released and will be tried again",
                        );
                        guard.report(Outcome::Released);
                        // The handler has said so, whoever's place it took.
                        let claim = Claim {
                            takes_over: false,
                            ..guard.claim()
                        };
                        spawn(release_later(Arc::clone(&guard.state.runtime.0), claim));
                    }
                }
                guard.forget();
                return None;
            }
            Verdict::Committed(response, answered) => match *answered {
                Answered::Stored => {
                    guard.settled = true;
                    guard.state.set_recorded();
                    guard.state.note_response(&response);
                    guard.report(Outcome::Executed);
                    return None;
                }
                // Another run's outcome counts, even if nothing is left of it by now: this one
                // was told so, and may have undone what it did.
                Answered::Fenced(found) => {
                    guard.settled = true;
                    guard.state.report_fenced();
                    return Some(found);
                }
                Answered::Unknown => (response, Outcome::Executed),
            },
            Verdict::Record(response, outcome) => (response, outcome),
        };
        let outcome = if response.is_tombstone() {
            Outcome::Tombstoned
        } else {
            outcome
        };
        // From here on the effect is known to have happened: whatever fails, the key is not freed.
        guard.settled = true;
        let in_doubt = guard.state.is_in_doubt().then(|| {
            let (state, recorded) = (Arc::clone(&guard.state), Some(response.clone()));
            Box::pin(async move { committed(&state, recorded).await })
        });
        let size = guard.state.size_to_note(&response);
        match guard.state.complete(response).await {
            Ok(Completion::Stored) => {
                guard.state.set_recorded();
                guard.state.note_size(size);
                guard.report(outcome);
            }
            Ok(Completion::Fenced(found)) => {
                guard.state.report_fenced();
                return Some(found);
            }
            Err(CompleteError::Unreadable(error)) => unreadable(&guard, &error),
            Err(CompleteError::Failed(error, response)) => {
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
            }
        }
        match in_doubt {
            None => None,
            Some(committed) => committed.await,
        }
    }
}

/// Another record is in the outcome's place.
fn unreadable(guard: &RunGuard, error: &StoreError) {
    tracing::error!(
        record = %guard.claim().id.short_hash(),
        error = error as &dyn std::error::Error,
        "an outcome was not recorded, because another record is there that cannot be read",
    );
    guard.state.report_fenced();
}

/// Tries to record an outcome until the store takes it. Gives up when the record would have
/// expired.
async fn complete_later(guard: RunGuard, mut response: StoredResponse, outcome: Outcome) {
    let [mut pause, longest] = PAUSES;
    let claim = guard.claim();
    let size = guard.state.size_to_note(&response);
    let deadline = Instant::now() + claim.ttl;
    while Instant::now() < deadline {
        sleep(pause).await;
        pause = (pause * 2).min(longest);
        match guard.state.complete(response).await {
            Ok(Completion::Stored) => {
                guard.state.note_size(size);
                return guard.report(outcome);
            }
            Ok(Completion::Fenced(_)) => return guard.state.report_fenced(),
            Err(CompleteError::Unreadable(error)) => return unreadable(&guard, &error),
            Err(CompleteError::Failed(_, given_back)) => response = given_back,
        }
    }
    tracing::error!(
        record = %claim.id.short_hash(),
        "an outcome could not be recorded for as long as its record would have lived",
    );
}
