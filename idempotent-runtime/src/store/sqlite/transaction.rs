//! A record in a transaction of the user's own.

use std::{any::Any, future::Future, pin::Pin};

use sqlx::{Sqlite, SqliteConnection, pool::PoolConnection};
use tokio::time::timeout;

use super::{
    SqliteStore,
    failure::Failure,
    rules::{self, Change},
};
use crate::{
    core::{record::Claim, response::StoredResponse},
    store::{Completion, StoreError, Transactional},
};

impl Transactional for SqliteStore {
    /// Takes a [`sqlx::SqliteConnection`], a pool's connection or a transaction of one.
    ///
    /// From then on the transaction holds SQLite's write lock: commit soon. One that has read
    /// before it wrote cannot write any more where others have written meanwhile; begin it with
    /// `BEGIN IMMEDIATE`. Waiters see the record within about 50 ms of the commit.
    fn complete_in<'a>(
        &'a self,
        connection: &'a mut (dyn Any + Send),
        claim: &'a Claim,
        response: &'a StoredResponse,
    ) -> Pin<Box<dyn Future<Output = Result<Completion, StoreError>> + Send + 'a>> {
        Box::pin(async move {
            let connection = sqlite(connection).ok_or(StoreError::Unsupported)?;
            match timeout(self.0.limit, self.record_in(connection, claim, response)).await {
                Ok(completion) => completion,
                Err(_) => Err(StoreError::unavailable(
                    "the transaction's connection did not answer within the time limit",
                )),
            }
        })
    }
}

fn sqlite(connection: &mut (dyn Any + Send)) -> Option<&mut SqliteConnection> {
    if connection.is::<SqliteConnection>() {
        return connection.downcast_mut();
    }
    if connection.is::<PoolConnection<Sqlite>>() {
        return Some(&mut **connection.downcast_mut::<PoolConnection<Sqlite>>()?);
    }
    let transaction = connection.downcast_mut::<sqlx::Transaction<'static, Sqlite>>()?;
    Some(&mut **transaction)
}

impl SqliteStore {
    /// Writes first and looks only when that did not do: so this is one atomic step even outside
    /// of a transaction, and a deferred transaction takes the write lock before it reads.
    async fn record_in(
        &self,
        connection: &mut SqliteConnection,
        claim: &Claim,
        response: &StoredResponse,
    ) -> Result<Completion, StoreError> {
        let failing = |failure: Failure| failure.failing();
        let statements = &self.0.statements;
        let ttl = rules::millis(claim.ttl);
        let is_written = statements
            .record(
                connection,
                &claim.id,
                claim.owner,
                &claim.fingerprint,
                ttl,
                &response.to_durable(&claim.id, &claim.fingerprint),
            )
            .await
            .map_err(failing)?;
        if is_written {
            return Ok(Completion::Stored);
        }
        let seen = statements.load(connection, &[claim.id]).await;
        let seen = seen.map_err(failing)?;
        if let Some(row) = seen.row(&claim.id)?
            && let Some(found) = row.done_by(claim, seen.now)?
        {
            return Ok(Completion::Fenced(found));
        }
        match rules::complete(seen.row(&claim.id)?, claim, response, seen.now)? {
            (completion, Change::Keep) => Ok(completion),
            // What was in the way has ended in this very moment.
            (_, Change::Put(_) | Change::Remove) => {
                Err(StoreError::unavailable("the record has just expired"))
            }
        }
    }
}
