//! A response that is committed with the effect, in the handler's own database transaction.

use std::{fmt, sync::Arc};

use super::{Answered, CommitInError, Execution, RunState};
use crate::{
    core::response::StoredResponse,
    recordable::Recordable,
    store::{Completion, DatabaseTransaction, StoreError},
};

impl Execution {
    /// Records the response **in the handler's own transaction**: effect and record are committed
    /// together or not at all, whatever fails and whenever the process ends.
    ///
    /// Nothing has happened before the transaction is committed, and the response is only given
    /// back when it is: by [`Uncommitted::commit`].
    ///
    /// ```
    /// # #[cfg(all(feature = "axum", feature = "postgres"))] mod example {
    /// use axum::{extract::State, http::StatusCode, response::{IntoResponse, Response}};
    /// use idempotent_runtime::{CommitInError, Execution, idempotent};
    /// use sqlx::PgPool;
    ///
    /// # struct AppError;
    /// # impl From<sqlx::Error> for AppError { fn from(_: sqlx::Error) -> Self { Self } }
    /// # impl From<CommitInError> for AppError { fn from(_: CommitInError) -> Self { Self } }
    /// # impl IntoResponse for AppError {
    /// #     fn into_response(self) -> Response { StatusCode::INTERNAL_SERVER_ERROR.into_response() }
    /// # }
    /// #[idempotent(scope = "global")]
    /// async fn pay(State(pool): State<PgPool>, execution: Execution) -> Result<Response, AppError> {
    ///     let mut transaction = pool.begin().await?;
    ///     sqlx::query("INSERT INTO payments (amount) VALUES (100)")
    ///         .execute(&mut *transaction)
    ///         .await?;
    ///     let response = StatusCode::CREATED.into_response();
    ///     let response = execution.commit_in(&mut transaction, response).await?;
    ///     Ok(response.commit(transaction).await?)
    /// }
    /// # }
    /// ```
    ///
    /// In a run that is not protected nothing is recorded, and the transaction is the handler's
    /// own affair as ever.
    ///
    /// # What happens if …
    ///
    /// * **the transaction is not committed**: it is rolled back when it is dropped, so there is
    ///   neither effect nor record of it. Whatever the handler returns is then recorded as any
    ///   other outcome.
    /// * **it is committed by its own `commit`**, and not by [`Uncommitted::commit`]: the record
    ///   is there. The store is asked at the handler's end, and the client is answered with what
    ///   was committed, marked as a replay.
    /// * **the handler returns another response** than the committed one: this client gets the
    ///   handler's, every retry gets the committed one.
    /// * **the commit fails** with the connection lost, so that nobody can say whether it was
    ///   carried out: the store is asked at the handler's end. If it was, the client gets the
    ///   committed response; if not, the handler's response is an outcome as any other.
    /// * **the transaction fails** and the handler does all of it again in a new one: that is
    ///   right. Should the first have been committed after all, the second `commit_in` is
    ///   [`CommitInError::Fenced`].
    ///
    /// * **[`Uncommitted::commit`] is given another transaction** than the one in which the record
    ///   was written: that one is committed, and the response given back, but there is no record,
    ///   and when the lease has ended a retry runs the handler again. Do not do this.
    ///
    /// If the future is dropped, the transaction is in an unknown state and must be dropped too.
    ///
    /// # Errors
    ///
    /// [`CommitInError`]. After each of them drop the transaction, which rolls it back.
    pub async fn commit_in<T: DatabaseTransaction, R: Recordable>(
        &self,
        transaction: &mut T,
        response: R,
    ) -> Result<Uncommitted<R>, CommitInError> {
        let Some((state, claimed)) = self.run() else {
            return Ok(Uncommitted {
                response,
                record: None,
            });
        };
        let Some(transactional) = state.runtime.0.store.as_transactional() else {
            return Err(unsupported());
        };
        let recording = state.dated(response).record(claimed.policy.max_response);
        let (response, stored) = recording.whole().await;
        let was_in_doubt = state.start_commit_in()?;
        let connection = transaction.connection();
        let completion = async {
            let completion = transactional.complete_in(connection, &claimed.claim, &stored);
            completion.await.and_then(Completion::readable)
        };
        #[cfg(feature = "metrics")]
        let completion = crate::metrics::timed("complete_in", completion);
        let completion = completion.await;
        if let Err(StoreError::Unsupported) = completion {
            // Nothing was sent.
            if !was_in_doubt {
                state.undo_commit_in();
            }
            return Err(unsupported());
        }
        if let Err(error) = &completion {
            tracing::warn!(
                record = %claimed.claim.id.short_hash(),
                error = error as &dyn std::error::Error,
                "a record could not be written in the handler's transaction, which must be in the \
                 store's own database",
            );
        }
        match completion? {
            Completion::Stored => Ok(Uncommitted {
                response,
                record: Some((Arc::clone(state), stored)),
            }),
            Completion::Fenced(found) => {
                // What was found may be what this very run has written before, in a transaction
                // that is rolled back, this one included: then the store is asked at the end.
                if !was_in_doubt {
                    state.decide_commit_in(stored, Answered::Fenced(found));
                }
                Err(CommitInError::Fenced)
            }
        }
    }
}

fn unsupported() -> CommitInError {
    let error = CommitInError::Unsupported;
    tracing::error!("{error}");
    error
}

/// A response whose record is written in a transaction that is still open. The way to the response
/// leads through the commit.
#[must_use = "nothing has happened before the transaction is committed: `.commit(transaction).await`"]
pub struct Uncommitted<R> {
    response: R,
    record: Option<(Arc<RunState>, StoredResponse)>,
}

impl<R> Uncommitted<R> {
    /// Commits the transaction in which the record was written, and gives the response back, to
    /// be returned by the handler.
    ///
    /// If the future is dropped, the transaction may or may not have been committed; the handler
    /// itself runs to its end, so that only happens when the handler drops it.
    ///
    /// # Errors
    ///
    /// [`CommitInError::Transaction`]: it is not known whether the transaction was committed. The
    /// store is asked when the handler returns.
    pub async fn commit(self, transaction: impl DatabaseTransaction) -> Result<R, CommitInError> {
        let committed = transaction.commit().await;
        committed.map_err(CommitInError::Transaction)?;
        if let Some((state, stored)) = self.record {
            state.decide_commit_in(stored, Answered::Stored);
        }
        Ok(self.response)
    }

    /// The same, of another type.
    pub(crate) fn map<S>(self, map: impl FnOnce(R) -> S) -> Uncommitted<S> {
        Uncommitted {
            response: map(self.response),
            record: self.record,
        }
    }
}

impl<R> fmt::Debug for Uncommitted<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Uncommitted")
    }
}
