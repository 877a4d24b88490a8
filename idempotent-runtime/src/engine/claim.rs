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
        policy::{OnLost, Policy, StoreDown},
        problem::Problem,
        protocol::{self, Decision, Found, May},
        record::{Claim, RecordId},
    },
    event::Outcome,
    execution::{Claimed, RunState},
    runtime::Inner,
    store::{ClaimAnswer, StoreError},
};

/// How often a waiter asks a store that cannot wake it, and the most often that it asks at all
/// without being woken.
const POLL_PAUSE: Duration = Duration::from_millis(100);

/// What a request asks for: the claim of an id.
pub(crate) struct Wanted {
    pub(crate) policy: &'static Policy,
    pub(crate) id: RecordId,
    pub(crate) key: Key,
    pub(crate) fingerprint: Fingerprint,
    /// Whose key it is, where somebody may ask.
    pub(crate) caller: Option<String>,
}

/// Asks for the claim, and waits for it or for the outcome of whoever has it, as the policy says.
///
/// Every request has room for this future. It is not that of an `async fn`, which has room for its
/// arguments twice.
#[expect(clippy::manual_async_fn)]
pub(crate) fn begin(state: Arc<RunState>, wanted: Wanted) -> impl Future<Output = Begun> + Send {
    async move {
        let inner = &state.runtime.0;
        let policy = wanted.policy;
        let report = |outcome| state.report(policy, Some(wanted.id.short_hash()), outcome);
        let mut wait = None;
        // How often it may ask to take over: a store that does not grant what was lost would be asked
        // for ever.
        let mut take_overs = 3_u8;
        let mut takes_over = false;
        loop {
            let claim = Claim {
                lease: inner.lease.unwrap_or(policy.lease),
                ttl: inner.ttl.unwrap_or(policy.ttl),
                on_lost: kept_on_lost(inner, policy),
                takes_over,
                max_response: policy.max_response,
                ..Claim::new(wanted.id, inner.owner(), wanted.fingerprint)
            };
            let asked = inner.store.needs_lease().then(Instant::now);
            let answer = Claiming::new(inner, &claim).await;
            let found = match answer {
                Ok(ClaimAnswer::Claimed) => {
                    return match granted(&state, wanted, claim, asked) {
                        Granted::Sure(begun) => begun,
                        Granted::Unsure(begin) => begin.await,
                    };
                }
                Ok(ClaimAnswer::Found(found)) => found,
                Err(StoreError::Full) => {
                    report(Outcome::StoreFull);
                    return refuse(&state, &Problem::StoreFull);
                }
                Err(error) => {
                    tracing::error!(
                        record = %wanted.id.short_hash(),
                        error = &error as &dyn std::error::Error,
                        "the idempotency store could not be asked for a claim",
                    );
                    // What is there, and cannot be read, may say that the handler has run.
                    if !matches!(error, StoreError::Unavailable(_)) {
                        report(Outcome::StoreUnavailable);
                        return refuse(&state, &Problem::StoreUnavailable);
                    }
                    // It may have been granted all the same, and the answer was lost.
                    spawn(release_later(Arc::clone(inner), claim));
                    if policy.store_down == StoreDown::Run {
                        report(Outcome::UnprotectedStoreDown);
                        return Begun::Unprotected;
                    }
                    report(Outcome::StoreUnavailable);
                    return refuse(&state, &Problem::StoreUnavailable);
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
            let may = May {
                wait: deadline.is_some_and(|deadline| Instant::now() < deadline),
                take_over: take_overs > 0
                    && (inner.reconciler.is_some() || inner.on_lost(policy) == OnLost::Rerun),
            };
            takes_over = false;
            let decision = protocol::decide(&claim, found, may);
            match (decision, deadline) {
                (Decision::Wait, Some(deadline)) => {
                    // Nobody tells when a lease ends, and a store may be a moment late to see it. A time
                    // that passes is seen by the next round. In a box, because most requests do not
                    // wait and need not carry the room for it.
                    let lease_end = lease_left
                        .flatten()
                        .map(|left| Instant::now() + left.max(POLL_PAUSE));
                    let until = lease_end.map_or(deadline, |end| end.min(deadline));
                    let _ = Box::pin(timeout_at(until, ended(inner, &claim))).await;
                }
                (Decision::TakeOver, _) => {
                    take_overs -= 1;
                    takes_over = true;
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
                    return refuse(&state, &problem);
                }
                (Decision::Wait, None) => unreachable!("only who has a deadline may wait"),
            }
        }
    }
}

/// A claim that was granted.
enum Granted {
    Sure(Begun),
    /// The application is to be asked, or the store once more. In a box, because it hardly ever is.
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
    state.bind(Claimed { policy, claim, key });
    let guard = RunGuard::new(Arc::clone(state));
    if claim.takes_over {
        Granted::Unsure(Box::pin(reconcile(guard, caller)))
    } else if asked.is_some_and(|asked| asked.elapsed() >= claim.lease / 3) {
        // The lease began when the store was asked, and may be over by now.
        Granted::Unsure(Box::pin(still_held(guard)))
    } else {
        Granted::Sure(Begun::Run(guard))
    }
}

fn refuse(state: &RunState, problem: &Problem) -> Begun {
    Begun::Answer(Answer::Refuse(state.render(problem)))
}

/// What the store keeps a lost claim for: to be asked about, where somebody can be.
fn kept_on_lost(inner: &Inner, policy: &Policy) -> OnLost {
    match inner.reconciler {
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
