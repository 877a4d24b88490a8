//! Asking for a claim, and waiting for somebody else's.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Answer, Begun, RunGuard, lease::still_held, reconcile::reconcile, refusal, release_later, spawn,
};
use crate::{
    any_store::StoreFuture,
    core::{
        fingerprint::Fingerprint,
        key::Key,
        policy::{AppliedPolicy, OnLost, Policy, StoreDown},
        problem::Problem,
        protocol::{self, Decision, Found, May},
        record::{Claim, RecordId},
    },
    event::Outcome,
    execution::{Claimed, RunState},
    runtime::{Inner, Waiting},
    store::{ClaimAnswer, StoreError},
};

/// How often a waiter asks a store that cannot wake it, and the most often that it asks at all
/// without being woken.
const POLL_PAUSE: Duration = Duration::from_millis(100);

/// What a request asks for: the claim of an id.
pub(crate) struct Wanted {
    pub(crate) policy: AppliedPolicy,
    pub(crate) id: RecordId,
    pub(crate) key: Key,
    pub(crate) fingerprint: Fingerprint,
    /// Whose key it is, where somebody may ask.
    pub(crate) caller: Option<String>,
}

/// Asks for the claim, and waits for it or for the outcome of whoever has it, as the policy says.
///
/// Every request has room for this future, so it is not that of an `async fn`, which has room for
/// its arguments twice, and what hardly any request comes to is in boxes.
#[expect(clippy::manual_async_fn)]
pub(crate) fn begin(state: Arc<RunState>, wanted: Wanted) -> impl Future<Output = Begun> + Send {
    async move {
        if let Some(observation) = state.observation() {
            observation.record(wanted.id.short_hash());
        }
        let mut patience = Patience::new();
        let granted = loop {
            let asked = state.runtime.0.store.needs_lease().then(Instant::now);
            let claim = wanted.claim(&state.runtime.0, &patience);
            let next = match Claiming::new(&state.runtime.0, &claim).await {
                Ok(ClaimAnswer::Claimed) => break granted(&state, wanted, claim, asked),
                Ok(ClaimAnswer::Found(found)) => patience.answer(&state, &wanted, &claim, found),
                Err(error) => return failed(&state, &wanted, claim, error),
            };
            match next {
                Next::Answer(answer) => return Begun::Answer(answer),
                Next::Ask => {}
                Next::Wait(wait) => {
                    wait.await;
                    patience.note(&state, &wanted.policy);
                }
            }
        };
        // Nobody waits any more, though there may be somebody to ask.
        drop(patience);
        match granted {
            Granted::Sure(guard) => Begun::Run(guard),
            Granted::Unsure(begin) => begin.await,
        }
    }
}

impl Wanted {
    fn claim(&self, inner: &Inner, patience: &Patience) -> Claim {
        let policy = &*self.policy;
        Claim {
            lease: inner.settings.lease.unwrap_or(policy.lease),
            ttl: inner.settings.ttl.unwrap_or(policy.ttl),
            on_lost: kept_on_lost(inner, policy),
            takes_over: patience.takes_over,
            max_response: policy.max_response,
            ..Claim::new(self.id, inner.owner(), self.fingerprint)
        }
    }

    fn report(&self, state: &RunState, outcome: Outcome) {
        state.report(&self.policy, Some(self.id.short_hash()), outcome);
    }
}

/// What comes of something that was found under the id.
enum Next {
    Answer(Answer),
    /// The store is asked again.
    Ask,
    /// The store is asked again after this.
    Wait(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// How much of its patience a request has left.
struct Patience {
    wait: Option<(Instant, Waiting)>,
    /// How often it may ask to take over: a store that does not grant what was lost would be asked
    /// for ever.
    take_overs: u8,
    takes_over: bool,
}

impl Patience {
    fn new() -> Self {
        Self {
            wait: None,
            take_overs: 3,
            takes_over: false,
        }
    }

    /// Takes note of how long the request has waited so far.
    fn note(&self, state: &RunState, policy: &Policy) {
        if let Some(observation) = state.observation()
            && let (Some((deadline, _)), Some(longest)) = (&self.wait, policy.wait)
        {
            observation.measure(|measures| {
                let left = deadline.saturating_duration_since(Instant::now());
                measures.wait_time = Some(longest.saturating_sub(left));
            });
        }
    }

    /// What to do about something that was found under the id.
    fn answer(&mut self, state: &RunState, wanted: &Wanted, claim: &Claim, found: Found) -> Next {
        let inner = &state.runtime.0;
        let policy = &*wanted.policy;
        let lease_left = match found {
            Found::Running { lease_left, .. } => Some(lease_left),
            Found::Done { .. } | Found::Lost { .. } => None,
        };
        if self.wait.is_none()
            && lease_left.is_some()
            && let Some(longest) = policy.wait
            && let Some(place) = inner.start_waiting()
        {
            self.wait = Some((Instant::now() + longest, place));
        }
        let deadline = self.wait.as_ref().map(|(deadline, _)| *deadline);
        let may = May {
            wait: deadline.is_some_and(|deadline| Instant::now() < deadline),
            take_over: self.take_overs > 0
                && (inner.settings.reconciler.is_some() || inner.on_lost(policy) == OnLost::Rerun),
        };
        self.takes_over = false;
        match (protocol::decide(claim, found, may), deadline) {
            (Decision::Wait, Some(deadline)) => {
                // Nobody tells when a lease ends, and a store may be a moment late to see it. A
                // time that passes is seen by the next round.
                let lease_end = lease_left
                    .flatten()
                    .map(|left| Instant::now() + left.max(POLL_PAUSE));
                let until = lease_end.map_or(deadline, |end| end.min(deadline));
                let (inner, claim) = (Arc::clone(inner), *claim);
                Next::Wait(Box::pin(async move {
                    let _ = timeout_at(until, ended(&inner, &claim)).await;
                }))
            }
            (Decision::TakeOver, _) => {
                self.take_overs -= 1;
                self.takes_over = true;
                Next::Ask
            }
            (Decision::Replay(response), deadline) => {
                state.note_response(&response);
                let outcome = match deadline {
                    Some(_) => Outcome::WaitedThenReplayed,
                    None => Outcome::Replayed,
                };
                wanted.report(state, outcome);
                Next::Answer(Answer::Replay(response))
            }
            (Decision::Refuse(problem), _) => {
                wanted.report(state, refusal(&problem));
                Next::Answer(refuse(state, &problem))
            }
            (Decision::Wait, None) => unreachable!("only who has a deadline may wait"),
        }
    }
}

/// What becomes of a request whose claim the store did not answer.
fn failed(state: &RunState, wanted: &Wanted, claim: Claim, error: StoreError) -> Begun {
    let inner = &state.runtime.0;
    if let StoreError::Full = error {
        wanted.report(state, Outcome::StoreFull);
        return Begun::Answer(refuse(state, &Problem::StoreFull));
    }
    tracing::error!(
        record = %wanted.id.short_hash(),
        error = &error as &dyn std::error::Error,
        "the idempotency store could not be asked for a claim",
    );
    let is_away = matches!(error, StoreError::Unavailable(_));
    state.target.keep_failure(error);
    // What is there, and cannot be read, may say that the handler has run.
    if is_away {
        // It may have been granted all the same, and the answer was lost.
        spawn(release_later(Arc::clone(inner), claim));
        if wanted.policy.store_down == StoreDown::Run {
            wanted.report(state, Outcome::UnprotectedStoreDown);
            return Begun::Unprotected;
        }
    }
    wanted.report(state, Outcome::StoreUnavailable);
    Begun::Answer(refuse(state, &Problem::StoreUnavailable))
}

/// A claim that was granted.
enum Granted {
    Sure(RunGuard),
    /// The application is to be asked, or the store once more.
    Unsure(Pin<Box<dyn Future<Output = Begun> + Send>>),
}

/// Takes the claim, and sees whether it has to be made sure of.
fn granted(state: &Arc<RunState>, wanted: Wanted, claim: Claim, asked: Option<Instant>) -> Granted {
    let Wanted {
        policy,
        key,
        caller,
        ..
    } = wanted;
    tracing::debug!(
        record = %claim.id.short_hash(),
        takes_over = claim.takes_over,
        "the claim is granted",
    );
    state.bind(Claimed { policy, claim, key });
    let guard = RunGuard::new(Arc::clone(state));
    if claim.takes_over {
        Granted::Unsure(Box::pin(reconcile(guard, caller)))
    } else if asked.is_some_and(|asked| asked.elapsed() >= claim.lease / 3) {
        // The lease began when the store was asked, and may be over by now.
        Granted::Unsure(Box::pin(still_held(guard)))
    } else {
        Granted::Sure(guard)
    }
}

fn refuse(state: &RunState, problem: &Problem) -> Answer {
    Answer::Refuse(state.render(problem))
}

/// What the store keeps a lost claim for: to be asked about, where somebody can be.
fn kept_on_lost(inner: &Inner, policy: &Policy) -> OnLost {
    match inner.settings.reconciler {
        Some(_) => OnLost::Refuse,
        None => inner.on_lost(policy),
    }
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
        let answer = Some(inner.store.claim(claim));
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
        let answer = std::task::ready!(Pin::new(answer).poll(context));
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
