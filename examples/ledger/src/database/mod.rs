//! Where the ledger's entries are kept: in memory, in SQLite or in PostgreSQL. An application has
//! one of them.

mod memory;
mod postgres;
mod sqlite;
mod table;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use sqlx::{PgPool, Postgres, Sqlite, SqlitePool, Transaction};
use uuid::Uuid;

pub(crate) use self::{
    memory::Memory,
    table::{ORDERS, PAYMENTS, Table},
};
pub(crate) use self::{postgres::open as open_postgres, sqlite::open as open_sqlite};
use crate::{Entry, transaction::Entered};

/// How long a connection is waited for.
const WAIT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub(crate) enum Database {
    Memory(Arc<Memory>),
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A transaction that is open.
pub(crate) enum Open {
    Memory(Arc<Memory>),
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Database {
    pub(crate) async fn begin(&self) -> Result<Open, sqlx::Error> {
        Ok(match self {
            Self::Memory(memory) => Open::Memory(Arc::clone(memory)),
            Self::Sqlite(pool) => Open::Sqlite(sqlite::begin(pool).await?),
            Self::Postgres(pool) => Open::Postgres(pool.begin().await?),
        })
    }

    /// The owner's entries, oldest first.
    pub(crate) async fn list(
        &self,
        table: &'static Table,
        owner: &str,
    ) -> Result<Vec<Entry>, sqlx::Error> {
        match self {
            Self::Memory(memory) => Ok(memory.list(table, owner)),
            Self::Sqlite(pool) => sqlite::list(pool, table, owner).await,
            Self::Postgres(pool) => postgres::list(pool, table, owner).await,
        }
    }

    pub(crate) async fn find(
        &self,
        table: &'static Table,
        owner: &str,
        id: Uuid,
    ) -> Result<Option<Entry>, sqlx::Error> {
        match self {
            Self::Memory(memory) => Ok(memory.find(table, owner, id)),
            Self::Sqlite(pool) => sqlite::find(pool, table, owner, id).await,
            Self::Postgres(pool) => postgres::find(pool, table, owner, id).await,
        }
    }
}

impl Open {
    /// Memory waits for the commit.
    pub(crate) async fn insert(
        &mut self,
        table: &'static Table,
        owner: &str,
        entry: &Entry,
    ) -> Result<(), sqlx::Error> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Sqlite(transaction) => sqlite::insert(transaction, table, owner, entry).await,
            Self::Postgres(transaction) => postgres::insert(transaction, table, owner, entry).await,
        }
    }

    /// After an error nobody can say whether it was committed.
    pub(crate) async fn commit(self, entered: &[Entered]) -> Result<(), sqlx::Error> {
        match self {
            Self::Memory(memory) => {
                memory.enter(entered);
                Ok(())
            }
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::Postgres(transaction) => transaction.commit().await,
        }
    }
}
