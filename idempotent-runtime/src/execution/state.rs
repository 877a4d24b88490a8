//! How far a run has come, and what belongs to it.

use std::sync::{
    Mutex, MutexGuard, OnceLock, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tracing::Span;

use super::CommitError;
#[cfg(any(feature = "axum", feature = "actix"))]
use crate::web::Accept;
use crate::{
    any_store::{CompleteError, StoreFuture},
    core::{
        key::Key,
        policy::{AppliedPolicy, Policy},
        problem::{Problem, RenderedProblem},
        protocol::Found,
        record::{Claim, ShortHash},
        response::StoredResponse,
    },
    event::Outcome,
    expiry::{self, IDEMPOTENCY_EXPIRES},
    observation::{Observation, Operation},
    recordable::Recordable,
    runtime::Idempotency,
    store::Completion,
    target::Target,
};

/// What the request, the engine and the handler know of a run in common.
pub(crate) struct RunState {
    pub(crate) runtime: Idempotency,
    pub(crate) target: Target,
    /// What the client accepts.
    #[cfg(any(feature = "axum", feature = "actix"))]
    accept: Accept,
    /// Set when the claim is granted.
    pub(super) claimed: OnceLock<Claimed>,
    /// Set where somebody wants to know; in a box, because mostly nobody does.
    observation: OnceLock<Box<Observation>>,
    progress: Mutex<Progress>,
    /// Whether the store is being told, or was told, of the outcome.
    ending: AtomicBool,
    /// Whether the store is being told, or was told, that nothing has happened.
    releasing: AtomicBool,
    fenced: AtomicBool,
    recorded: AtomicBool,
    /// Whether the handler has ended without telling what became of its own transaction.
    in_doubt: AtomicBool,
}

/// How far a run has come, in one step each: of a commit and the handler's return one is first.
enum Progress {
    Running {
        released: bool,
    },
    /// A response was written in a transaction of the handler's, and nobody has told whether that
    /// was committed.
    InDoubt {
        released: bool,
    },
    Committed(StoredResponse, Answered),
    Ended,
}

/// What the store has said to a commit.
pub(crate) enum Answered {
    /// Nothing, or not yet.
    Unknown,
    Stored,
    Fenced(Found),
}

/// What a run has come to when its handler is at its end.
pub(crate) enum End {
    Returned { released: bool },
    Committed(StoredResponse, Answered),
}

pub(crate) struct Claimed {
    pub(crate) policy: AppliedPolicy,
    pub(crate) claim: Claim,
    pub(crate) key: Key,
}

impl RunState {
    pub(crate) fn new(runtime: Idempotency, target: Target) -> Self {
        Self {
            runtime,
            target,
            #[cfg(any(feature = "axum", feature = "actix"))]
            accept: Accept::default(),
            claimed: OnceLock::new(),
            observation: OnceLock::new(),
            progress: Mutex::new(Progress::Running { released: false }),
            ending: AtomicBool::new(false),
            releasing: AtomicBool::new(false),
            fenced: AtomicBool::new(false),
            recorded: AtomicBool::new(false),
            in_doubt: AtomicBool::new(false),
        }
    }

    /// The state of a request whose client accepts this.
    #[cfg(any(feature = "axum", feature = "actix"))]
    pub(crate) fn answering(mut self, accept: Accept) -> Self {
        self.accept = accept;
        self
    }

    /// A problem as this client reads it. A function's caller reads none.
    pub(crate) fn render(&self, problem: &Problem) -> RenderedProblem {
        let rendered = problem.render(&self.runtime.0.settings.problems);
        #[cfg(any(feature = "axum", feature = "actix"))]
        let rendered = rendered.in_form(self.accept.form());
        rendered
    }

    /// The response with the date at which its record, made now, expires; where that is told.
    pub(crate) fn dated<R: Recordable>(&self, mut response: R) -> R {
        if self.runtime.0.settings.tells_expiry {
            let date = expiry::date(self.claimed().claim.ttl);
            response.set_expires(Some(date.as_bytes()));
        }
        response
    }

    /// The response with the date that was recorded before.
    pub(crate) fn dated_as<R: Recordable>(&self, mut response: R, recorded: &StoredResponse) -> R {
        if self.runtime.0.settings.tells_expiry {
            let date = recorded
                .headers()
                .find(|(name, _)| *name == IDEMPOTENCY_EXPIRES);
            response.set_expires(date.as_ref().map(|(_, date)| &date[..]));
        }
        response
    }

    /// Begins to observe the request, if somebody wants to know of it.
    pub(crate) fn observe(&self, policy: &Policy) {
        let inner = &self.runtime.0;
        if inner.is_observed() {
            let operation = Operation::new(policy, Some(&self.target));
            let observation = Observation::new(operation, inner.is_measured());
            // A request is driven once.
            let _ = self.observation.set(Box::new(observation));
        }
    }

    pub(crate) fn observation(&self) -> Option<&Observation> {
        self.observation.get().map(|observation| &**observation)
    }

    /// The span of all that happens to the request, where it has one.
    pub(crate) fn span(&self) -> Option<&Span> {
        self.observation().map(Observation::span)
    }

    /// Takes note of a response that is recorded, or sent again.
    pub(crate) fn note_response(&self, response: &StoredResponse) {
        self.note_size(self.size_to_note(response));
    }

    /// How large the response is, where somebody wants to know: to be asked before it is given away.
    pub(crate) fn size_to_note(&self, response: &StoredResponse) -> Option<u64> {
        self.observation()?;
        (!response.is_tombstone()).then(|| response.body().len() as u64)
    }

    /// Takes note of the size of a response that is recorded, or sent again.
    pub(crate) fn note_size(&self, size: Option<u64>) {
        if let Some(observation) = self.observation()
            && size.is_some()
        {
            observation.measure(|measures| measures.response_bytes = size);
        }
    }

    /// Takes note of the claim. Called once, when it is granted.
    pub(crate) fn bind(&self, claimed: Claimed) {
        // The engine grants a claim once for each request.
        let _ = self.claimed.set(claimed);
    }

    /// Whether there is a claim: whether the handler runs.
    pub(crate) fn is_claimed(&self) -> bool {
        self.claimed.get().is_some()
    }

    pub(crate) fn claimed(&self) -> &Claimed {
        self.claimed
            .get()
            .expect("the engine takes note of the claim before it makes the guard that asks")
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // Nothing that holds it can panic.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note that nothing has happened, if nothing was committed.
    pub(super) fn release(&self) {
        if let Progress::Running { released } | Progress::InDoubt { released } =
            &mut *self.progress()
        {
            *released = true;
        }
    }

    pub(super) fn start_commit(&self, response: &StoredResponse) -> Result<(), CommitError> {
        let mut progress = self.progress();
        match *progress {
            Progress::Running { .. } => {
                *progress = Progress::Committed(response.clone(), Answered::Unknown);
                self.set_ending();
                Ok(())
            }
            Progress::Committed(..) | Progress::InDoubt { .. } => Err(CommitError::Twice),
            Progress::Ended => Err(CommitError::Ended),
        }
    }

    /// Takes note that a response is about to be written in a transaction. That may be done
    /// again: a transaction that failed is tried again in another one, and of all of them the
    /// store lets one be committed.
    ///
    /// Gives whether the run was in doubt before.
    pub(super) fn start_commit_in(&self) -> Result<bool, CommitError> {
        let mut progress = self.progress();
        let before = match *progress {
            Progress::Running { released } => Ok((released, false)),
            Progress::InDoubt { released } => Ok((released, true)),
            Progress::Committed(..) => Err(CommitError::Twice),
            Progress::Ended => Err(CommitError::Ended),
        };
        let (released, was_in_doubt) = before?;
        *progress = Progress::InDoubt { released };
        self.set_ending();
        Ok(was_in_doubt)
    }

    /// Takes note that nothing was written after all.
    pub(super) fn undo_commit_in(&self) {
        let mut progress = self.progress();
        if let Progress::InDoubt { released } = *progress {
            *progress = Progress::Running { released };
        }
    }

    /// Takes note of what became of the transaction.
    pub(super) fn decide_commit_in(&self, response: StoredResponse, answer: Answered) {
        let mut progress = self.progress();
        if matches!(*progress, Progress::InDoubt { .. }) {
            *progress = Progress::Committed(response, answer);
        }
    }

    pub(super) fn answer_commit(&self, answer: Answered) {
        // A handler that has returned meanwhile has asked the store by itself.
        if let Progress::Committed(_, answered) = &mut *self.progress() {
            *answered = answer;
        }
    }

    /// Takes note that the store has forgotten what it was told: a commit is told it again when the
    /// handler is at its end.
    pub(crate) fn set_forgotten(&self) {
        if let Progress::Committed(_, answered @ Answered::Stored) = &mut *self.progress() {
            *answered = Answered::Unknown;
        }
    }

    /// Takes note that the handler is at its end: nothing can be committed any more.
    pub(crate) fn end(&self) -> End {
        match std::mem::replace(&mut *self.progress(), Progress::Ended) {
            Progress::Running { released } => End::Returned { released },
            Progress::InDoubt { released } => {
                self.in_doubt.store(true, Ordering::Release);
                End::Returned { released }
            }
            Progress::Committed(response, answered) => End::Committed(response, answered),
            // It is at its end for the second time, because its response panicked.
            Progress::Ended => End::Returned { released: false },
        }
    }

    /// Whether a response was committed, or may have been, and the handler is still running.
    pub(crate) fn may_be_committed(&self) -> bool {
        matches!(
            *self.progress(),
            Progress::Committed(..) | Progress::InDoubt { .. }
        )
    }

    /// Takes note that the store is about to be told of the outcome: from now on, that the claim
    /// has ended does not mean that it was lost.
    pub(crate) fn set_ending(&self) {
        self.ending.store(true, Ordering::Release);
    }

    /// Takes note that the key is about to be freed.
    pub(crate) fn set_releasing(&self) {
        self.releasing.store(true, Ordering::Release);
    }

    pub(crate) fn is_releasing(&self) -> bool {
        self.releasing.load(Ordering::Acquire)
    }

    pub(crate) fn is_in_doubt(&self) -> bool {
        self.in_doubt.load(Ordering::Acquire)
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    pub(crate) fn complete(
        &self,
        response: StoredResponse,
    ) -> StoreFuture<Completion, CompleteError> {
        let store = &self.runtime.0.store;
        store.complete(&self.claimed().claim, response)
    }

    /// Tells, once for each run, that its claim was lost.
    pub(crate) fn report_fenced(&self) {
        if !self.fenced.swap(true, Ordering::AcqRel) {
            let Claimed { policy, claim, .. } = self.claimed();
            self.report(policy, Some(claim.id.short_hash()), Outcome::Fenced);
        }
    }

    /// Whether the claim was lost while its handler or function ran.
    pub(crate) fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Acquire)
    }

    /// The store has the outcome.
    pub(crate) fn set_recorded(&self) {
        self.recorded.store(true, Ordering::Release);
    }

    pub(crate) fn is_recorded(&self) -> bool {
        self.recorded.load(Ordering::Acquire)
    }

    pub(crate) fn report(&self, policy: &Policy, record: Option<ShortHash>, outcome: Outcome) {
        let operation = Operation::new(policy, Some(&self.target));
        let inner = &self.runtime.0;
        inner.report(operation, record, outcome, self.observation());
    }
}
