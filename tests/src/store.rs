//! A store that fails, hangs and forgets its answers as a test tells it to.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use idempotent_runtime::{
    Claim, MemoryStore, Store, StoredResponse,
    store::{
        ClaimAnswer, Completion, Fence, Found, Inspect, MemoryUsage, Notify, StoreError,
        Transactional,
    },
};
use tokio::sync::watch;

use crate::{backend::Backend, wait::soon};

/// A verb of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `claim`
    Claim,
    /// `complete`
    Complete,
    /// `release`
    Release,
    /// `renew`
    Renew,
}

/// On which side of what it does a verb fails or hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not carried out.
    Before,
    /// It is carried out, and the answer is lost or late.
    After,
}

/// The memory store, with faults.
#[derive(Clone)]
pub struct Steered(Arc<Inner>);

struct Inner {
    kept: Backend,
    needs_lease: bool,
    notifies: bool,
    verbs: [Steering; 4],
    abandoned: AtomicUsize,
    lease_left: Mutex<Option<Duration>>,
}

#[derive(Default)]
struct Steering {
    /// How many calls are still to fail, and how.
    failing: Mutex<Option<(usize, Fault)>>,
    /// How many calls are not to fail before that.
    spared: Mutex<usize>,
    hangs: watch::Sender<Option<Fault>>,
    /// How long it takes to answer.
    slow: Mutex<Duration>,
    asked: watch::Sender<usize>,
    answered: AtomicUsize,
    calls: Mutex<Vec<(Instant, Claim)>>,
}

impl Steered {
    /// A store without faults so far.
    #[must_use]
    pub fn new(memory: MemoryStore) -> Self {
        Self::with(memory, false, true)
    }

    /// A store whose claims must be renewed.
    #[must_use]
    pub fn with_lease(memory: MemoryStore) -> Self {
        Self::with(memory, true, true)
    }

    /// A store that cannot wake those who wait.
    #[must_use]
    pub fn without_notification(memory: MemoryStore) -> Self {
        Self::with(memory, false, false)
    }

    fn with(memory: MemoryStore, needs_lease: bool, notifies: bool) -> Self {
        Self::over(Backend::Memory(memory), needs_lease, notifies)
    }

    /// On a store of any kind.
    pub fn on(kept: Backend) -> Self {
        let (needs_lease, notifies) = (kept.needs_lease(), kept.as_notify().is_some());
        Self::over(kept, needs_lease, notifies)
    }

    fn over(kept: Backend, needs_lease: bool, notifies: bool) -> Self {
        Self(Arc::new(Inner {
            kept,
            needs_lease,
            notifies,
            verbs: Default::default(),
            abandoned: AtomicUsize::new(0),
            lease_left: Mutex::default(),
        }))
    }

    /// What is behind the faults.
    ///
    /// # Panics
    ///
    /// It is not the memory store.
    #[must_use]
    pub fn memory(&self) -> &MemoryStore {
        match &self.0.kept {
            Backend::Memory(memory) => memory,
            other => panic!("not the memory store: {other:?}"),
        }
    }

    /// The next so many calls of the verb fail.
    pub fn fail(&self, verb: Verb, calls: usize, fault: Fault) {
        *self.verb(verb).failing.lock().unwrap() = Some((calls, fault));
    }

    /// After so many calls of the verb that do not, so many fail.
    pub fn fail_after(&self, verb: Verb, spared: usize, calls: usize, fault: Fault) {
        *self.verb(verb).spared.lock().unwrap() = spared;
        self.fail(verb, calls, fault);
    }

    /// Calls of the verb hang from now on.
    pub fn hang(&self, verb: Verb, fault: Fault) {
        self.verb(verb).hangs.send_replace(Some(fault));
    }

    /// Calls of the verb are answered so late from now on.
    pub fn slow(&self, verb: Verb, by: Duration) {
        *self.verb(verb).slow.lock().unwrap() = by;
    }

    /// Calls of the verb hang and fail no more, and are not slow.
    pub fn heal(&self, verb: Verb) {
        self.slow(verb, Duration::ZERO);
        *self.verb(verb).failing.lock().unwrap() = None;
        self.verb(verb).hangs.send_replace(None);
    }

    /// Waits until the verb was asked for so many times, be it answered or not.
    pub async fn asked(&self, verb: Verb, times: usize) {
        let mut asked = self.verb(verb).asked.subscribe();
        let _ = soon(
            "the store is asked",
            asked.wait_for(|asked| *asked >= times),
        )
        .await
        .unwrap();
    }

    /// When the verb was asked for, and for which claim.
    #[must_use]
    pub fn calls(&self, verb: Verb) -> Vec<(Instant, Claim)> {
        self.verb(verb).calls.lock().unwrap().clone()
    }

    /// How many calls of the verb were answered.
    #[must_use]
    pub fn answered(&self, verb: Verb) -> usize {
        self.verb(verb).answered.load(Ordering::SeqCst)
    }

    /// How many runs ended without an outcome.
    #[must_use]
    pub fn abandoned(&self) -> usize {
        self.0.abandoned.load(Ordering::SeqCst)
    }

    /// The claim of a run is lost, as when its lease ends.
    pub fn lose(&self, claim: &Claim) {
        self.0.kept.abandon(claim);
    }

    /// Says from now on that so much is left of the lease of every running claim.
    pub fn say_lease_left(&self, left: Duration) {
        *self.0.lease_left.lock().unwrap() = Some(left);
    }

    fn verb(&self, verb: Verb) -> &Steering {
        &self.0.verbs[verb as usize]
    }

    async fn call<T>(
        &self,
        verb: Verb,
        claim: &Claim,
        carry_out: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let steering = self.verb(verb);
        steering
            .calls
            .lock()
            .unwrap()
            .push((Instant::now(), *claim));
        steering.asked.send_modify(|asked| *asked += 1);
        steering.unless_hanging(Fault::Before).await;
        let fault = steering.fails();
        let answer = match fault {
            Some(Fault::Before) => Err(StoreError::unavailable("told to fail")),
            _ => carry_out.await,
        };
        let slow = *steering.slow.lock().unwrap();
        if !slow.is_zero() {
            tokio::time::sleep(slow).await;
        }
        steering.unless_hanging(Fault::After).await;
        steering.answered.fetch_add(1, Ordering::SeqCst);
        match fault {
            Some(Fault::After) => Err(StoreError::unavailable("told to lose the answer")),
            _ => answer,
        }
    }
}

impl Steering {
    async fn unless_hanging(&self, side: Fault) {
        let mut hangs = self.hangs.subscribe();
        let _ = hangs.wait_for(|hangs| *hangs != Some(side)).await;
    }

    fn fails(&self) -> Option<Fault> {
        let mut spared = self.spared.lock().unwrap();
        if *spared > 0 {
            *spared -= 1;
            return None;
        }
        let mut failing = self.failing.lock().unwrap();
        let (calls, fault) = failing.as_mut()?;
        *calls = calls.checked_sub(1)?;
        Some(*fault)
    }
}

impl Store for Steered {
    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, StoreError> {
        let mut answer = self
            .call(Verb::Claim, claim, self.0.kept.claim(claim))
            .await;
        if let Ok(ClaimAnswer::Found(Found::Running { lease_left, .. })) = &mut answer
            && let Some(told) = *self.0.lease_left.lock().unwrap()
        {
            *lease_left = Some(told);
        }
        answer
    }

    async fn complete(
        &self,
        claim: &Claim,
        response: &StoredResponse,
    ) -> Result<Completion, StoreError> {
        let complete = self.0.kept.complete(claim, response);
        self.call(Verb::Complete, claim, complete).await
    }

    async fn release(&self, claim: &Claim) -> Result<Fence, StoreError> {
        self.call(Verb::Release, claim, self.0.kept.release(claim))
            .await
    }

    async fn renew(&self, claim: &Claim) -> Result<Fence, StoreError> {
        self.call(Verb::Renew, claim, self.0.kept.renew(claim))
            .await
    }

    fn needs_lease(&self) -> bool {
        self.0.needs_lease
    }

    fn abandon(&self, claim: &Claim) {
        self.0.abandoned.fetch_add(1, Ordering::SeqCst);
        self.0.kept.abandon(claim);
    }

    fn as_notify(&self) -> Option<&dyn Notify> {
        self.0.kept.as_notify().filter(|_| self.0.notifies)
    }

    fn as_transactional(&self) -> Option<&dyn Transactional> {
        self.0.kept.as_transactional()
    }

    fn as_inspect(&self) -> Option<&dyn Inspect> {
        self.0.kept.as_inspect()
    }

    fn memory_usage(&self) -> MemoryUsage {
        self.0.kept.memory_usage()
    }
}

impl fmt::Debug for Steered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Steered")
            .field("kept", &self.0.kept)
            .finish_non_exhaustive()
    }
}
