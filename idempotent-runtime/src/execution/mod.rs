//! The handler's own handle on its run.

mod commit_in;
mod error;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tracing::Span;

pub use self::{
    commit_in::Uncommitted,
    error::{CommitError, CommitInError},
};
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

/// The handler's own handle on its run: an extractor, for axum and for actix-web.
///
/// In a request that is not protected (no key where none is needed, a safe method, a handler
/// without the attribute) it is there all the same, and its methods do nothing.
///
/// ```
/// # #[cfg(feature = "axum")] mod example {
/// use axum::{http::StatusCode, response::{IntoResponse, Response}};
/// use idempotent_runtime::{CommitError, Execution, idempotent};
///
/// #[idempotent(scope = "global")]
/// async fn pay(execution: Execution) -> Result<Response, CommitError> {
///     // … the payment is made …
///     let response = execution.commit(StatusCode::CREATED.into_response()).await?;
///     // … from here on, whatever fails, a retry is told 201 …
///     Ok(response)
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct Execution(pub(crate) Option<Arc<RunState>>);

/// What the request, the engine and the handler know of a run in common.
pub(crate) struct RunState {
    pub(crate) runtime: Idempotency,
    pub(crate) target: Target,
    /// What the client accepts.
    #[cfg(any(feature = "axum", feature = "actix"))]
    accept: Accept,
    /// Set when the claim is granted.
    claimed: OnceLock<Claimed>,
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

impl Execution {
    /// Whether this run is protected: whether it holds a claim.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.run().is_some()
    }

    /// The key of this operation; `None` in a run that is not protected, and where the key was
    /// derived from the request.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.run()?.1.key.as_str()
    }

    /// Records the response **now**, before later steps that may fail. From then on retries get
    /// it, whatever the handler returns or whether it panics, and the key is not released.
    ///
    /// Gives the response back, to be returned by the handler. In axum `R` is
    /// `axum::response::Response`, in actix-web `HttpResponse`.
    ///
    /// A store that cannot be reached is not an error here: the effect has happened, so the
    /// record is tried again when the handler returns, and after that in the background.
    ///
    /// If the future is dropped, the response may or may not have been recorded; the handler
    /// itself runs to its end, so that only happens when the handler drops it.
    ///
    /// # Errors
    ///
    /// [`CommitError::Fenced`] when the run lost its claim to another,
    /// [`CommitError::Twice`] when a response was committed before, and
    /// [`CommitError::Ended`] when the handler has returned before: its response counts.
    pub async fn commit<R: Recordable>(&self, response: R) -> Result<R, CommitError> {
        let Some((state, claimed)) = self.run() else {
            return Ok(response);
        };
        let recording = state.dated(response).record(claimed.policy.max_response);
        let (response, stored) = recording.whole().await;
        state.start_commit(&stored)?;
        let answered = match state.complete(stored).await {
            Ok(Completion::Stored) => Answered::Stored,
            Ok(Completion::Fenced(found)) => Answered::Fenced(found),
            Err(CompleteError::Unreadable(error) | CompleteError::Failed(error, _)) => {
                tracing::warn!(
                    record = %claimed.claim.id.short_hash(),
                    error = &error as &dyn std::error::Error,
                    "a commit could not be recorded and will be tried again",
                );
                Answered::Unknown
            }
        };
        let is_fenced = matches!(answered, Answered::Fenced(_));
        state.answer_commit(answered);
        if is_fenced {
            return Err(CommitError::Fenced);
        }
        Ok(response)
    }

    /// Says that nothing has happened: the key becomes free when the handler returns, and a
    /// retry runs the handler again. Has no effect after a [`commit`](Self::commit), nor on a
    /// run that then panics.
    pub fn release(&self) {
        if let Some((state, _)) = self.run()
            && let Progress::Running { released } | Progress::InDoubt { released } =
                &mut *state.progress()
        {
            *released = true;
        }
    }

    fn run(&self) -> Option<(&Arc<RunState>, &Claimed)> {
        let state = self.0.as_ref()?;
        Some((state, state.claimed.get()?))
    }
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

    fn start_commit(&self, response: &StoredResponse) -> Result<(), CommitError> {
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
    fn start_commit_in(&self) -> Result<bool, CommitError> {
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
    fn undo_commit_in(&self) {
        let mut progress = self.progress();
        if let Progress::InDoubt { released } = *progress {
            *progress = Progress::Running { released };
        }
    }

    /// Takes note of what became of the transaction.
    fn decide_commit_in(&self, response: StoredResponse, answer: Answered) {
        let mut progress = self.progress();
        if matches!(*progress, Progress::InDoubt { .. }) {
            *progress = Progress::Committed(response, answer);
        }
    }

    fn answer_commit(&self, answer: Answered) {
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

impl fmt::Debug for Execution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.run().map(|(_, claimed)| claimed.claim.id.short_hash());
        formatter
            .debug_struct("Execution")
            .field("record", &record)
            .finish_non_exhaustive()
    }
}
