//! The store is told how a run ended.

use std::{future::Future, pin::pin, sync::Arc};

use tokio::time::{Instant, sleep};

use super::{
    Answer, PAUSES, RunGuard,
    lease::{renewal, renewing},
    release_later, spawn,
};
use crate::{
    any_store::CompleteError,
    core::{
        protocol::{self, Decision, Found, May},
        record::Claim,
        response::StoredResponse,
    },
    event::Outcome,
    execution::{Answered, RunState},
    store::{ClaimAnswer, Completion, Fence, StoreError},
};

/// What the store is to be told of a run.
pub(super) enum Verdict {
    Release,
    Record(StoredResponse, Outcome),
    /// The handler has told it by itself, and had this answer.
    Committed(StoredResponse, Box<Answered>),
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

/// Tells the store of the outcome. Gives what was found when the claim had been lost, or when the
/// handler's own transaction had recorded another outcome.
///
/// No `async fn`, for the reason that [`execute`](super::execute) has.
#[expect(clippy::manual_async_fn)]
pub(super) fn settle(
    mut guard: RunGuard,
    verdict: Verdict,
) -> impl Future<Output = Option<Found>> + Send {
    async move {
        guard.state.set_ending();
        let (response, outcome) = match verdict {
            Verdict::Release => {
                guard.state.set_releasing();
                match guard.store().release(guard.claim()).await {
                    Ok(Fence::Passed) => guard.report(Outcome::Released),
                    Ok(Fence::Fenced) if guard.state.is_in_doubt() => {
                        guard.set_settled();
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
                    guard.set_settled();
                    guard.state.set_recorded();
                    guard.state.note_response(&response);
                    guard.report(Outcome::Executed);
                    return None;
                }
                // Another run's outcome counts, even if nothing is left of it by now: this one
                // was told so, and may have undone what it did.
                Answered::Fenced(found) => {
                    guard.set_settled();
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
        guard.set_settled();
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
pub(super) fn answer(state: &RunState, found: Found) -> Answer {
    match protocol::decide(&state.claimed().claim, found, May::default()) {
        Decision::Replay(response) => Answer::Replay(response),
        Decision::Refuse(problem) => Answer::Refuse(state.render(&problem)),
        Decision::Wait | Decision::TakeOver => unreachable!("it may do neither"),
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
