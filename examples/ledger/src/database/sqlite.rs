//! Entries in a SQLite file.

use std::path::Path;

use sqlx::{
    Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};
use uuid::Uuid;

use super::table::{ALL, Row, Table, entry};
use crate::Entry;

/// Opens the file, which is made if it is missing, and so are the tables.
pub(crate) async fn open(path: &Path) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        // Readers and the writer do not wait for each other.
        .journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePoolOptions::new()
        .acquire_timeout(super::WAIT)
        .connect_with(options)
        .await?;
    let mut transaction = begin(&pool).await?;
    for table in ALL {
        sqlx::raw_sql(table.create_in_sqlite)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(pool)
}

/// Begins a transaction that is going to write. One that began to read could fail when it comes
/// to write: another may have written meanwhile, and waiting would not help.
pub(super) async fn begin(pool: &SqlitePool) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
    pool.begin_with("BEGIN IMMEDIATE").await
}

pub(super) async fn insert(
    transaction: &mut Transaction<'static, Sqlite>,
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
    pool: &SqlitePool,
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
    pool: &SqlitePool,
    table: &'static Table,
    owner: &str,
    id: Uuid,
) -> Result<Option<Entry>, sqlx::Error> {
    let query = sqlx::query_as(table.find).bind(owner).bind(id.to_string());
    let row: Option<Row> = query.fetch_optional(pool).await?;
    row.map(entry).transpose()
}
