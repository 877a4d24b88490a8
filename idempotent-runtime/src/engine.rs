//! The only async driver: protocol × store × clock.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::{
    core::{
        fingerprint::Fingerprint,
        key::Key,
        policy::{OnLost, Policy, StoreDown},
        problem::{Problem, RenderedProblem},
        protocol::{self, Conclusion, Decision, Ending, Found, PANIC_STATUS},
        record::{Claim, RecordId},
        response::StoredResponse,
    },
    event::Outcome,
    execution::{Answered, Claimed, End, RunState},
    runtime::{AnyStore, Inner, Running, StoreFuture},
    store::{ClaimAnswer, Completion, Fence, StoreError},
    web::Recordable,
};

/// The first and the longest pause between attempts to tell the store of an outcome.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];
/// How often a waiter asks a store that cannot wake it.
const POLL_PAUSE: Duration = Duration::from_millis(100);

/// What a request asks for: the claim of an id.
pub(crate) struct Wanted {
    pub(crate) policy: &'static Policy,
    pub(crate) id: RecordId,
    pub(crate) key: Key,
    pub(crate) fingerprint: Fingerprint,
}

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

/// Asks for the claim, and waits for it or for the outcome of whoever has it, as the policy says.
pub(crate) async fn begin(state: &Arc<RunState>, wanted: Wanted) -> Begun {
    let Wanted { policy, id, .. } = wanted;
    let inner = &state.runtime.0;
    let report = |outcome| state.report(policy, Some(id.short_hash()), outcome);
    let mut wait = None;
    loop {
        let claim = Claim {
            lease: policy.lease,
            ttl: policy.ttl,
            on_lost: policy.on_lost,
            max_response: policy.max_response,
            ..Claim::new(id, inner.owner(), wanted.fingerprint)
        };
        let answer = Claiming::new(inner, &claim).await;
        let found = match answer {
            Ok(ClaimAnswer::Claimed) => {
                let key = wanted.key;
                state.bind(Claimed { policy, claim, key });
                return Begun::Run(RunGuard::new(Arc::clone(state)));
            }
            Ok(ClaimAnswer::Found(found)) => found,
            Err(StoreError::Full) => {
                report(Outcome::StoreFull);
                return refuse(inner, &Problem::StoreFull);
            }
            Err(error) => {
                tracing::error!(
                    record = %id.short_hash(),
                    error = &error as &dyn std::error::Error,
                    "the idempotency store could not be asked for a claim",
                );
                // It may have been granted all the same, and the answer was lost.
                spawn(release_later(Arc::clone(inner), claim));
                if policy.store_down == StoreDown::Run {
                    report(Outcome::UnprotectedStoreDown);
                    return Begun::Unprotected;
                }
                report(Outcome::StoreUnavailable);
                return refuse(inner, &Problem::StoreUnavailable);
            }
        };
        let lease_left = match found {
            Found::Running { lease_left, .. } => Some(lease_left),
            Found::Done { .. } | Found::Lost { .. } => None,
        };
        if wait.is_none()
            && lease_left.is_some()
            && let Some(longest) = policy.wait
            && let Some(place) = inner.start_waiting()
        {
            wait = Some((Instant::now() + longest, place));
        }
        let deadline = wait.as_ref().map(|(deadline, _)| *deadline);
        let may_wait = deadline.is_some_and(|deadline| Instant::now() < deadline);
        let decision = protocol::decide(policy, wanted.fingerprint, found, may_wait);
        match (decision, deadline) {
            (Decision::Wait, Some(deadline)) => {
                // Nobody tells when a lease ends. A time that passes is seen by the next round. In a
                // box, because most requests
                // do not wait and need not carry the room for it.
                let lease_end = lease_left.flatten().map(|left| Instant::now() + left);
                let until = lease_end.map_or(deadline, |end| end.min(deadline));
                let _ = Box::pin(timeout_at(until, ended(inner, &claim))).await;
            }
            (Decision::Replay(response), deadline) => {
                report(match deadline {
                    Some(_) => Outcome::WaitedThenReplayed,
                    None => Outcome::Replayed,
                });
                return Begun::Answer(Answer::Replay(response));
            }
            (Decision::Refuse(problem), _) => {
                report(refusal(&problem));
                return refuse(inner, &problem);
            }
            (Decision::Wait, None) => unreachable!("only who has a deadline may wait"),
        }
    }
}

fn refuse(inner: &Inner, problem: &Problem) -> Begun {
    Begun::Answer(Answer::Refuse(problem.render(&inner.problems)))
}

/// Resolves when the running claim may have ended. Holds nothing of the store meanwhile.
async fn ended(inner: &Inner, claim: &Claim) {
    match inner.store.as_notify() {
        Some(notify) => notify.ended(claim).await,
        None => sleep(POLL_PAUSE).await,
    }
}

/// A claim that is being asked for. Dropped before the answer, it is given back as soon as it is
/// granted: the handler has not run.
struct Claiming<'a> {
    inner: &'a Arc<Inner>,
    claim: &'a Claim,
    answer: Option<StoreFuture<ClaimAnswer>>,
}

impl<'a> Claiming<'a> {
    fn new(inner: &'a Arc<Inner>, claim: &'a Claim) -> Self {
        let answer = Some(Arc::clone(&inner.store).claim(*claim));
        Self {
            inner,
            claim,
            answer,
        }
    }
}

impl Future for Claiming<'_> {
    type Output = Result<ClaimAnswer, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.answer.as_mut().expect("polled until it is ready");
        let answer = std::task::ready!(answer.as_mut().poll(context));
        self.answer = None;
        Poll::Ready(answer)
    }
}

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        let Some(answer) = self.answer.take() else {
            return;
        };
        let (inner, claim) = (Arc::clone(self.inner), *self.claim);
        let release = release_later(inner, claim);
        spawn(async move {
            let answer = answer.await;
            if matches!(
                answer,
                Ok(ClaimAnswer::Claimed) | Err(StoreError::Unavailable(_))
            ) {
                release.await;
            }
        });
    }
}

/// Frees a key under which nothing has happened, and tries for as long as the lease lasts: after
/// that the claim ends by itself, or, in a store without leases, is ended here.
fn release_later(inner: Arc<Inner>, claim: Claim) -> impl Future<Output = ()> + Send {
    // `drain` waits for it from now on, and not from when it is first polled.
    let running = inner.running();
    async move {
        let [mut pause, longest] = PAUSES;
        let deadline = Instant::now() + claim.lease;
        while Instant::now() < deadline {
            if Arc::clone(&inner.store).release(claim).await.is_ok() {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
        let on_lost = OnLost::Rerun;
        inner.store.abandon(&Claim { on_lost, ..claim });
        drop(running);
    }
}

/// Hands work to the runtime of the current task, if there still is one.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(future);
    }
}

/// A claim that is held. Dropped without an outcome, it is abandoned.
pub(crate) struct RunGuard {
    state: Arc<RunState>,
    _running: Running,
    /// Whether the store knows the outcome, or must not be told that there is none.
    settled: bool,
}

impl RunGuard {
    fn new(state: Arc<RunState>) -> Self {
        Self {
            _running: state.runtime.0.running(),
            state,
            settled: false,
        }
    }

    fn claim(&self) -> Claim {
        self.state.claimed().claim
    }

    fn store(&self) -> Arc<dyn AnyStore> {
        Arc::clone(&self.state.runtime.0.store)
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
    let state = Arc::clone(&guard.state);
    renewing(&state, pin!(run(guard, handler))).await
}

async fn run<R: Recordable>(
    guard: RunGuard,
    handler: Pin<&mut impl Future<Output = R>>,
) -> Result<R, Answer> {
    let state = Arc::clone(&guard.state);
    let produced = {
        let mut produce = pin!(produce(&state, handler));
        poll_fn(|context| {
            // After a panic the future is dropped and never looked at again.
            let poll = catch_unwind(AssertUnwindSafe(|| produce.as_mut().poll(context)));
            poll.map_or_else(|panic| Poll::Ready(Err(panic)), |poll| poll.map(Ok))
        })
        .await
    };
    let (response, verdict) = match produced {
        Ok((response, verdict)) => (Ok(response), verdict),
        Err(panic) => (Err(panic), after_panic(&state)),
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
    let claim = guard.claim();
    guard.state.set_ending();
    let (response, outcome) = match verdict {
        Verdict::Release => {
            match guard.store().release(claim).await {
                Ok(Fence::Passed) => guard.report(Outcome::Released),
                Ok(Fence::Fenced) => guard.state.report_fenced(),
                Err(error) => {
                    tracing::warn!(
                        record = %claim.id.short_hash(),
                        error = &error as &dyn std::error::Error,
                        "a key could not be released and will be tried again",
                    );
                    guard.report(Outcome::Released);
                    spawn(release_later(Arc::clone(&guard.state.runtime.0), claim));
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
    match guard.state.complete(response.clone()).await {
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
                record = %claim.id.short_hash(),
                error = &error as &dyn std::error::Error,
                "an outcome could not be recorded and will be tried again",
            );
            guard.report(Outcome::CompletionDelayed);
            spawn(async move {
                let state = Arc::clone(&guard.state);
                renewing(&state, pin!(complete_later(guard, response, outcome))).await;
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
        match guard.state.complete(response.clone()).await {
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

/// Drives a run, and renews its lease beside it where the store needs one.
async fn renewing<T>(state: &Arc<RunState>, mut run: Pin<&mut impl Future<Output = T>>) -> T {
    let needs_lease = state.runtime.0.store.needs_lease();
    let mut renewal = needs_lease.then(|| Box::pin(renew(Arc::clone(state))));
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
        let renewal = Arc::clone(&state.runtime.0.store).renew(claim);
        pause = match timeout(regular, renewal).await {
            Ok(Ok(Fence::Passed)) => regular,
            // Not lost, but ended by this very run.
            Ok(Ok(Fence::Fenced)) if state.is_ending() => return,
            Ok(Ok(Fence::Fenced)) => return state.report_fenced(),
            Ok(Err(error)) => {
                tracing::warn!(
                    record = %claim.id.short_hash(),
                    error = &error as &dyn std::error::Error,
                    "a lease could not be renewed and will be tried again",
                );
                soon
            }
            Err(_) => {
                tracing::warn!(
                    record = %claim.id.short_hash(),
                    "the store did not answer a renewal in time; it will be tried again",
                );
                soon
            }
        };
    }
}

/// A protected request, driven where it is. Dropped while its handler runs, it is handed on to
/// finish elsewhere; dropped before, it is over.
///
/// This is how a run goes on after its client went away, without a task for every request.
pub(crate) struct Detachable<F> {
    future: Option<Pin<Box<F>>>,
    state: Arc<RunState>,
    detach: fn(Pin<Box<F>>),
}

impl<F: Future> Detachable<F> {
    pub(crate) fn new(future: F, state: Arc<RunState>, detach: fn(Pin<Box<F>>)) -> Self {
        Self {
            future: Some(Box::pin(future)),
            state,
            detach,
        }
    }
}

impl<F: Future> Future for Detachable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Out of its place while it is polled: a future that panics must not be polled again,
        // here or elsewhere.
        let mut future = self.future.take().expect("polled until it is ready");
        let poll = future.as_mut().poll(context);
        if poll.is_pending() {
            self.future = Some(future);
        }
        poll
    }
}

impl<F> Drop for Detachable<F> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take()
            && self.state.is_claimed()
        {
            (self.detach)(future);
        }
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
