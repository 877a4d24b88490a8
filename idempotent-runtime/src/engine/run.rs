//! A run: the handler to its end, and the store told of it.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use super::{
    Answer, RunGuard,
    lease::{renewal, renewing},
    settle::{Verdict, answer, settle},
};
use crate::{
    core::{
        protocol::{self, Conclusion, Ending, PANIC_STATUS},
        response::StoredResponse,
    },
    event::Outcome,
    execution::{End, RunState},
    recordable::{Recordable, sealed::Recording},
};

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
