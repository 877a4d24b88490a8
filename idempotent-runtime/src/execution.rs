//! The handler's own handle on its run.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    core::{key::Key, policy::Policy, record::Claim, response::StoredResponse},
    runtime::Idempotency,
    store::{Completion, StoreError},
    web::Recordable,
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
pub struct Execution(pub(crate) Arc<ExecutionState>);

/// What the handler and the engine know of a run in common.
#[derive(Default)]
pub(crate) struct ExecutionState {
    run: OnceLock<RunIdentity>,
    released: AtomicBool,
    committed: OnceLock<StoredResponse>,
    stored: AtomicBool,
}

pub(crate) struct RunIdentity {
    pub(crate) runtime: Idempotency,
    pub(crate) policy: &'static Policy,
    pub(crate) claim: Claim,
    pub(crate) key: Key,
}

impl Execution {
    /// Whether this run is protected: whether it holds a claim.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.0.run.get().is_some()
    }

    /// The key of this operation; `None` in a run that is not protected, and where the key was
    /// derived from the request.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.0.run.get()?.key.as_str()
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
        let Some(run) = self.0.run.get() else {
            return Ok(response);
        };
        if self.0.committed.get().is_some() {
            return Err(CommitError::Twice);
        }
        let (response, stored) = response.record(run.policy.max_response).await;
        if self.0.committed.set(stored.clone()).is_err() {
            return Err(CommitError::Twice);
        }
        match run.complete(stored).await {
            Ok(Completion::Stored) => {
                self.0.stored.store(true, Ordering::Release);
                Ok(response)
            }
            Ok(Completion::Fenced(_)) => Err(CommitError::Fenced),
            Err(error) => {
                tracing::warn!(
                    record = %run.claim.id.short_hash(),
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
        self.0.released.store(true, Ordering::Release);
    }

    /// The handle of a run that is not protected.
    pub(crate) fn unprotected() -> Self {
        Self(Arc::default())
    }
}

impl ExecutionState {
    /// Binds the handle to its claim. Called once, when the claim is granted.
    pub(crate) fn bind(&self, run: RunIdentity) {
        // The engine grants a claim once for each request.
        let _ = self.run.set(run);
    }

    pub(crate) fn run(&self) -> &RunIdentity {
        self.run
            .get()
            .expect("the engine binds the state before it makes the guard that asks")
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
}

impl RunIdentity {
    pub(crate) async fn complete(
        &self,
        response: StoredResponse,
    ) -> Result<Completion, StoreError> {
        let store = Arc::clone(&self.runtime.0.store);
        store.complete(self.claim, response).await
    }
}

impl fmt::Debug for Execution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.0.run.get().map(|run| run.claim.id.short_hash());
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
