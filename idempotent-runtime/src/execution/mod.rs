//! The handler's own handle on its run.

mod commit_in;
mod error;
mod state;

use std::{fmt, sync::Arc};

pub(crate) use self::state::{Answered, Claimed, End, RunState};
pub use self::{
    commit_in::Uncommitted,
    error::{CommitError, CommitInError},
};
use crate::{any_store::CompleteError, recordable::Recordable, store::Completion};

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
        if let Some((state, _)) = self.run() {
            state.release();
        }
    }

    fn run(&self) -> Option<(&Arc<RunState>, &Claimed)> {
        let state = self.0.as_ref()?;
        Some((state, state.claimed.get()?))
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
