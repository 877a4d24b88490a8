//! A function's own handle on its run.

use std::{
    fmt,
    future::{Future, Ready},
    marker::PhantomData,
};

use serde::Serialize;

use crate::{
    core::{protocol::can_keep, response::StoredResponse, value::VALUE_STATUS},
    execution::{CommitError, CommitInError, Execution, Uncommitted},
    recordable::sealed::{Recordable, Recording},
    store::DatabaseTransaction,
};

/// A function's own handle on its run, for [`run_with`](super::OnceBuilder::run_with) and
/// [`try_run_with`](super::OnceBuilder::try_run_with). `T` is what is recorded.
///
/// In a run that is not protected, because the store is away and
/// [`store_down`](super::OnceBuilder::store_down) says run, its methods do nothing.
pub struct OnceExecution<T> {
    execution: Execution,
    value: PhantomData<fn(T)>,
}

impl<T> OnceExecution<T> {
    pub(super) fn new(execution: Execution) -> Self {
        let value = PhantomData;
        Self { execution, value }
    }

    /// Whether this run is protected: whether it holds a claim.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.execution.is_protected()
    }

    /// The key of this operation; `None` in a run that is not protected.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.execution.key()
    }

    /// Says that nothing has happened: the key becomes free when the function returns, and the
    /// next call runs it again. Has no effect after a commit, nor on a run that then panics.
    pub fn release(&self) {
        self.execution.release();
    }
}

impl<T: Serialize + Send> OnceExecution<T> {
    /// Records the value **now**, before later steps that may fail. From then on every other call
    /// gets it, whatever the function returns or whether it panics, and the key is not released.
    ///
    /// It is [`Execution::commit`] for a value: what is said there of failures and of a dropped
    /// future is true here.
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub async fn commit(&self, value: T) -> Result<T, CommitError> {
        let value = self.execution.commit(Value(value)).await?;
        Ok(value.0)
    }

    /// Records the value **in the function's own database transaction**: effect and record are
    /// committed together or not at all, whatever fails and whenever the process ends. The value
    /// is given back by [`Uncommitted::commit`].
    ///
    /// It is [`Execution::commit_in`] for a value: what is said there of all that may happen is
    /// true here. Use it with [`try_run_with`](super::OnceBuilder::try_run_with), so that a
    /// transaction which was rolled back is tried again by the next call.
    ///
    /// ```
    /// # #[cfg(all(feature = "functions", feature = "sqlite"))] mod example {
    /// use idempotent_runtime::{CommitInError, Idempotency, OnceError, Scope};
    /// use sqlx::SqlitePool;
    ///
    /// # #[derive(Debug)] enum Error { Database(sqlx::Error), Commit(CommitInError), Once(OnceError) }
    /// # impl From<sqlx::Error> for Error { fn from(error: sqlx::Error) -> Self { Self::Database(error) } }
    /// # impl From<CommitInError> for Error { fn from(error: CommitInError) -> Self { Self::Commit(error) } }
    /// # impl From<OnceError> for Error { fn from(error: OnceError) -> Self { Self::Once(error) } }
    /// async fn book(idempotency: &Idempotency, pool: SqlitePool, event: &str) -> Result<i64, Error> {
    ///     let once = idempotency.once("book", Scope::global(), event);
    ///     let once = once.try_run_with(|execution| async move {
    ///         let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    ///         let done = sqlx::query("INSERT INTO entries (amount) VALUES (100)")
    ///             .execute(&mut *transaction)
    ///             .await?;
    ///         let entry = execution.commit_in(&mut transaction, done.last_insert_rowid()).await?;
    ///         Ok::<_, Error>(entry.commit(transaction).await?)
    ///     });
    ///     Ok(once.await?.value)
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`CommitInError`]. After each of them drop the transaction, which rolls it back.
    pub async fn commit_in<D: DatabaseTransaction>(
        &self,
        transaction: &mut D,
        value: T,
    ) -> Result<Uncommitted<T>, CommitInError> {
        let value = self.execution.commit_in(transaction, Value(value)).await?;
        Ok(value.map(|value| value.0))
    }
}

impl<T> Clone for OnceExecution<T> {
    fn clone(&self) -> Self {
        Self::new(self.execution.clone())
    }
}

impl<T> fmt::Debug for OnceExecution<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.execution, formatter)
    }
}

/// A value, as the engine takes it.
pub(super) struct Value<T>(pub(super) T);

impl<T: Serialize> Recordable for Value<T> {
    fn status(&self) -> u16 {
        VALUE_STATUS
    }

    /// Its caller is not told.
    fn set_expires(&mut self, _: Option<&[u8]>) {}

    fn record(
        self,
        max_response: u64,
    ) -> Recording<Self, impl Future<Output = (Self, StoredResponse)>> {
        let stored = stored(&self.0, max_response);
        Recording::<Self, Ready<(Self, StoredResponse)>>::Done(self, stored)
    }
}

/// What is recorded of a value. It has its effect behind it, so one that cannot be kept leaves
/// word that there was one.
fn stored(value: &impl Serialize, max_response: u64) -> StoredResponse {
    match StoredResponse::value(value) {
        Ok(stored) if can_keep(None, stored.body().len() as u64, max_response) => stored,
        Ok(_) => StoredResponse::tombstone(VALUE_STATUS, &[]),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the value of a function cannot be serialised, and was not kept",
            );
            StoredResponse::tombstone(VALUE_STATUS, &[])
        }
    }
}

/// What a function comes to.
pub(super) enum Ended<T, E> {
    Value(T),
    /// Nothing has happened.
    Released(E),
}

impl<T: Serialize, E> Recordable for Ended<T, E> {
    fn status(&self) -> u16 {
        VALUE_STATUS
    }

    /// Its caller is not told.
    fn set_expires(&mut self, _: Option<&[u8]>) {}

    fn record(
        self,
        max_response: u64,
    ) -> Recording<Self, impl Future<Output = (Self, StoredResponse)>> {
        let stored = match &self {
            Self::Value(value) => stored(value, max_response),
            // The key was released, and nothing is recorded.
            Self::Released(_) => StoredResponse::tombstone(VALUE_STATUS, &[]),
        };
        Recording::<Self, Ready<(Self, StoredResponse)>>::Done(self, stored)
    }
}
