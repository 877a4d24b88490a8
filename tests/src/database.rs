//! Effects in a database, and transactions of both drivers behind one type, as an application
//! might have it.

use std::{any::Any, error::Error};

use idempotent_runtime::store::DatabaseTransaction;
use sqlx::{PgPool, Postgres, Sqlite, SqlitePool};

/// Where a handler's effects are rows.
#[derive(Clone, Debug)]
pub enum Database {
    /// The file that the store is in.
    Sqlite(SqlitePool),
    /// The server that the store is on.
    Postgres(PgPool),
}

/// A transaction in it.
#[derive(Debug)]
pub enum Transaction {
    /// In SQLite.
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    /// In PostgreSQL.
    Postgres(sqlx::Transaction<'static, Postgres>),
}

macro_rules! on_each {
    ($on:expr, $target:ident => $what:expr) => {
        match $on {
            Self::Sqlite($target) => $what,
            Self::Postgres($target) => $what,
        }
    };
}

impl Database {
    /// Makes the table.
    pub async fn prepare(&self) {
        let table = "CREATE TABLE IF NOT EXISTS effects (who TEXT NOT NULL)";
        match self {
            Self::Sqlite(pool) => drop(sqlx::query(table).execute(pool).await.unwrap()),
            // Two at once would collide in the catalogue.
            Self::Postgres(pool) => {
                let mut transaction = pool.begin().await.unwrap();
                for statement in ["SELECT pg_advisory_xact_lock(815)", table] {
                    sqlx::query(statement)
                        .execute(&mut *transaction)
                        .await
                        .unwrap();
                }
                transaction.commit().await.unwrap();
            }
        }
    }

    /// Opens a transaction.
    pub async fn begin(&self) -> Transaction {
        match self {
            Self::Sqlite(pool) => {
                let transaction = pool.begin_with("BEGIN IMMEDIATE").await;
                Transaction::Sqlite(transaction.unwrap())
            }
            Self::Postgres(pool) => Transaction::Postgres(pool.begin().await.unwrap()),
        }
    }

    /// How many effects there are.
    pub async fn effects(&self, who: &str) -> i64 {
        let count = "SELECT count(*) FROM effects WHERE who = $1";
        on_each!(self, pool => sqlx::query_scalar(count)
            .bind(who)
            .fetch_one(pool)
            .await
            .unwrap())
    }
}

impl Transaction {
    /// A statement fails.
    pub async fn fail(&mut self) {
        let insert = "INSERT INTO effects (who) VALUES (NULL)";
        on_each!(self, transaction => drop(
            sqlx::query(insert).execute(&mut **transaction).await.unwrap_err()
        ));
    }

    /// An effect happens, if the transaction is committed.
    pub async fn act(&mut self, who: &str) {
        let insert = "INSERT INTO effects (who) VALUES ($1)";
        on_each!(self, transaction => drop(
            sqlx::query(insert).bind(who).execute(&mut **transaction).await.unwrap()
        ));
    }
}

impl DatabaseTransaction for Transaction {
    fn connection(&mut self) -> &mut (dyn Any + Send) {
        on_each!(self, transaction => &mut **transaction)
    }

    async fn commit(self) -> Result<(), Box<dyn Error + Send + Sync>> {
        on_each!(self, transaction => DatabaseTransaction::commit(transaction).await)
    }
}
