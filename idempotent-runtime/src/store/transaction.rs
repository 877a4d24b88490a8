//! Records in transactions of the user's own.

use std::{any::Any, error::Error, future::Future, pin::Pin};

use super::{Completion, StoreError};
use crate::core::{record::Claim, response::StoredResponse};

/// A store that can write a record in a transaction of the user's own, so that effect and record
/// are committed together or not at all.
pub trait Transactional: Send + Sync {
    /// Does what [`Store::complete`](super::Store::complete) does, in the transaction that is
    /// open on this connection. Nobody sees the record before that transaction is committed.
    ///
    /// One thing is different: a record that is there already is found, and nothing is changed,
    /// even when it is of the claim's own owner. An earlier transaction of the same run has
    /// been committed then, and the effect of a second one must not be.
    ///
    /// The connection is what the database's driver calls one, such as `sqlx::PgConnection`.
    /// [`StoreError::Unsupported`] when it is not of the store's own driver.
    fn complete_in<'a>(
        &'a self,
        connection: &'a mut (dyn Any + Send),
        claim: &'a Claim,
        response: &'a StoredResponse,
    ) -> Pin<Box<dyn Future<Output = Result<Completion, StoreError>> + Send + 'a>>;
}

/// An open transaction of a database driver: `sqlx::Transaction` of PostgreSQL (feature
/// `postgres`) and of SQLite (feature `sqlite`), not nested in another one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a database transaction in which a record can be written",
    note = "it takes a `Transaction` of sqlx 0.9, with the feature `postgres` or `sqlite` of \
            `idempotent-runtime`"
)]
pub trait DatabaseTransaction: Send {
    /// The connection on which the transaction is open.
    fn connection(&mut self) -> &mut (dyn Any + Send);

    /// Commits the transaction. `Ok` only if it is committed; after an error it is not known
    /// whether it was.
    fn commit(self) -> impl Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send;
}

#[cfg(feature = "postgres")]
impl DatabaseTransaction for sqlx::Transaction<'_, sqlx::Postgres> {
    fn connection(&mut self) -> &mut (dyn Any + Send) {
        &mut **self
    }

    async fn commit(mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        not_nested::<sqlx::Postgres>(&self)?;
        // PostgreSQL rolls back a transaction in which a statement has failed, and answers its
        // COMMIT as if all were well. This fails there.
        sqlx::raw_sql("SELECT 1").execute(&mut *self).await?;
        Ok(Self::commit(self).await?)
    }
}

#[cfg(feature = "sqlite")]
impl DatabaseTransaction for sqlx::Transaction<'_, sqlx::Sqlite> {
    fn connection(&mut self) -> &mut (dyn Any + Send) {
        &mut **self
    }

    async fn commit(self) -> Result<(), Box<dyn Error + Send + Sync>> {
        not_nested::<sqlx::Sqlite>(&self)?;
        Ok(Self::commit(self).await?)
    }
}

/// What a nested transaction does is committed by the outer one, of which nothing is known here.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
fn not_nested<D: sqlx::Database>(connection: &D::Connection) -> Result<(), &'static str> {
    use sqlx_core::transaction::TransactionManager as _;

    if D::TransactionManager::get_transaction_depth(connection) > 1 {
        return Err("the transaction is nested in another one, which would have to be committed");
    }
    Ok(())
}
