//! The handler's own handle on its run.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    core::{
        key::Key,
        policy::Policy,
        record::{Claim, ShortHash},
        response::StoredResponse,
    },
    event::Outcome,
    runtime::Idempotency,
    store::{Completion, StoreError},
    web::{Recordable, Target},
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
    /// Set when the claim is granted.
    claimed: OnceLock<Claimed>,
    released: AtomicBool,
    committed: OnceLock<StoredResponse>,
    stored: AtomicBool,
    ending: AtomicBool,
}

pub(crate) struct Claimed {
    pub(crate) policy: &'static Policy,
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
    /// [`CommitError::Fenced`] when the run lost its claim to another, and
    /// [`CommitError::Twice`] when a response was committed before.
    pub async fn commit<R: Recordable>(&self, response: R) -> Result<R, CommitError> {
        let Some((state, claimed)) = self.run() else {
            return Ok(response);
        };
        if state.committed.get().is_some() {
            return Err(CommitError::Twice);
        }
        let (response, stored) = response.record(claimed.policy.max_response).await;
        if state.committed.set(stored.clone()).is_err() {
            return Err(CommitError::Twice);
        }
        state.set_ending();
        match state.complete(stored).await {
            Ok(Completion::Stored) => {
                state.stored.store(true, Ordering::Release);
                Ok(response)
            }
            Ok(Completion::Fenced(_)) => Err(CommitError::Fenced),
            Err(error) => {
                tracing::warn!(
                    record = %claimed.claim.id.short_hash(),
                    error = &error as &dyn std::error::Error,
                    "a commit could not be recorded and will be tried again",
                );
                Ok(response)
            }
        }
    }

    /// Says that nothing has happened: the key becomes free when the handler returns, and a
    /// retry runs the handler again. Has no effect after a [`commit`](Self::commit), nor on a
    /// run that then panics.
    pub fn release(&self) {
        if let Some((state, _)) = self.run() {
            state.released.store(true, Ordering::Release);
        }
    }

    fn run(&self) -> Option<(&RunState, &Claimed)> {
        let state = self.0.as_deref()?;
        Some((state, state.claimed.get()?))
    }
}

impl RunState {
    pub(crate) fn new(runtime: Idempotency, target: Target) -> Self {
        Self {
            runtime,
            target,
            claimed: OnceLock::new(),
            released: AtomicBool::new(false),
            committed: OnceLock::new(),
            stored: AtomicBool::new(false),
            ending: AtomicBool::new(false),
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

    pub(crate) fn is_released(&self) -> bool {
        self.released.load(Ordering::Acquire)
    }

    pub(crate) fn committed(&self) -> Option<&StoredResponse> {
        self.committed.get()
    }

    /// Whether the committed response is known to be in the store.
    pub(crate) fn is_stored(&self) -> bool {
        self.stored.load(Ordering::Acquire)
    }

    /// Takes note that the store is about to be told of the outcome: from now on, that the claim
    /// has ended does not mean that it was lost.
    pub(crate) fn set_ending(&self) {
        self.ending.store(true, Ordering::Release);
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    pub(crate) async fn complete(
        &self,
        response: StoredResponse,
    ) -> Result<Completion, StoreError> {
        let store = Arc::clone(&self.runtime.0.store);
        store.complete(self.claimed().claim, response).await
    }

    pub(crate) fn report(&self, policy: &Policy, record: Option<ShortHash>, outcome: Outcome) {
        let operation = self.target.operation(policy);
        self.runtime.0.report(&operation, record, outcome);
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

/// Why a response was not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitError {
    /// The run lost its claim: another run has taken its place, and its outcome is the one that
    /// retries get. Undo what can be undone.
    Fenced,
    /// A response was committed before; that one stays.
    Twice,
}

impl fmt::Display for CommitError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Fenced => "the run lost its claim to another run, whose outcome counts",
            Self::Twice => "a response of this run was committed before",
        })
    }
}

impl std::error::Error for CommitError {}
