//! Entries in PostgreSQL.

use std::io;

use sqlx::{
    ConnectOptions, Connection, PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;
use uuid::Uuid;

use super::table::{ALL, Row, Table, entry};
use crate::Entry;

/// Names the lock under which the tables are made: two processes that make the same table at
/// the same time disturb each other. (`ledger` in ASCII.) And nobody is told of tables that are
/// there already.
const LOCK: &str = "SELECT pg_advisory_xact_lock(119182992795506); \
                    SET LOCAL client_min_messages = warning";

/// Connects, and makes the tables if they are missing.
pub(crate) async fn open(options: PgConnectOptions) -> Result<PgPool, sqlx::Error> {
    // A pool would go on trying and then say no more than that it took too long.
    let create = async {
        let mut connection = options.connect().await?;
        let mut transaction = connection.begin().await?;
        sqlx::raw_sql(LOCK).execute(&mut *transaction).await?;
        for table in ALL {
            sqlx::raw_sql(table.create_in_postgres)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        connection.close().await
    };
    timeout(super::WAIT, create)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "it does not answer"))??;
    Ok(PgPoolOptions::new()
        .acquire_timeout(super::WAIT)
        .connect_lazy_with(options))
}

pub(super) async fn insert(
    transaction: &mut Transaction<'static, Postgres>,
    table: &'static Table,
    owner: &str,
    entry: &Entry,
) -> Result<(), sqlx::Error> {
    sqlx::query(table.insert)
        .bind(owner)
        .bind(entry.id.to_string())
        .bind(&entry.user)
        .bind(entry.amount)
        .bind(&entry.currency)
        .bind(entry.status.as_str())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

pub(super) async fn list(
    pool: &PgPool,
    table: &'static Table,
    owner: &str,
) -> Result<Vec<Entry>, sqlx::Error> {
    let rows: Vec<Row> = sqlx::query_as(table.list)
        .bind(owner)
        .fetch_all(pool)
        .await?;
    rows.into_iter().map(entry).collect()
}

pub(super) async fn find(
    pool: &PgPool,
    table: &'static Table,
    owner: &str,
    id: Uuid,
) -> Result<Option<Entry>, sqlx::Error> {
    let query = sqlx::query_as(table.find).bind(owner).bind(id.to_string());
    let row: Option<Row> = query.fetch_optional(pool).await?;
    row.map(entry).transpose()
}
