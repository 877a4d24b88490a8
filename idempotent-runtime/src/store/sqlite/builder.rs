//! The settings of a store.

use std::{path::Path, sync::Arc, time::Duration};

use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use tokio::time::timeout;

use super::{
    Shared, SqliteStore, bells::Bells, connect::Connector, statements::Statements, thread,
};
use crate::store::StoreError;

/// Beyond this a limit is none, and SQLite's own timers overflow.
const LONGEST_TIMEOUT: Duration = Duration::from_hours(1);
const MAX_TABLE_NAME: usize = 63;

/// What an answer of a [`SqliteStore`] survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// The end of the process, and of the machine: a power cut at any moment. SQLite's
    /// `synchronous=FULL`, with one sync of the disk for each transaction.
    #[default]
    Full,
    /// The end of the process. After a power cut or a crash of the system the last transactions
    /// may be missing, though the file is sound: what they did may be done again. SQLite's
    /// `synchronous=NORMAL`; several times as fast.
    Normal,
}

/// Sets the table, the durability and the time limit of a [`SqliteStore`].
///
/// ```
/// # async fn open() -> Result<(), idempotent_runtime::store::StoreError> {
/// use std::time::Duration;
/// use idempotent_runtime::{Durability, SqliteStore};
///
/// let store = SqliteStore::builder()
///     .table("payment_records")
///     .durability(Durability::Normal)
///     .timeout(Duration::from_secs(2))
///     .open("payments.db")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SqliteStoreBuilder {
    table: String,
    durability: Durability,
    limit: Duration,
}

impl SqliteStoreBuilder {
    pub(super) fn new() -> Self {
        Self {
            table: "idempotency_records".to_owned(),
            durability: Durability::default(),
            limit: Duration::from_secs(5),
        }
    }

    /// Keeps claims and records in this table, `idempotency_records` unless set. A name has 1 to
    /// 63 ASCII letters, digits and `_`, does not begin with a digit, nor with `sqlite_`; opening
    /// refuses another one.
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// Chooses what an answer survives: [`Durability::Full`] unless set.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Bounds the time that each operation takes, opening included: 5 s unless set, at most an
    /// hour. An operation that takes longer is [`StoreError::Unavailable`], and whether it was
    /// carried out is unknown.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = limit.min(LONGEST_TIMEOUT);
        self
    }

    /// Opens a file. It is created if it is missing; its folder is not.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the table's name is none, or the file cannot be opened,
    /// is no SQLite database, or is one in memory. The error's source says which.
    pub async fn open(self, path: impl AsRef<Path>) -> Result<SqliteStore, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true);
        self.open_with(options).await
    }

    /// Uses the file of a pool, so that records can be written in the application's own
    /// transactions. The store makes two connections of its own with the pool's options, in WAL
    /// mode, and takes none from the pool.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open). A database in memory is refused, because every connection
    /// would have its own.
    pub async fn with_pool(self, pool: &SqlitePool) -> Result<SqliteStore, StoreError> {
        let options = pool.connect_options();
        self.open_with(SqliteConnectOptions::clone(&options)).await
    }

    async fn open_with(self, options: SqliteConnectOptions) -> Result<SqliteStore, StoreError> {
        if !is_table_name(&self.table) {
            return Err(StoreError::unavailable(
                "the table's name must have 1 to 63 ASCII letters, digits and `_`, and must not \
                 begin with a digit or with `sqlite_`",
            ));
        }
        let statements = Arc::new(Statements::new(&self.table));
        let bells = Arc::new(Bells::default());
        let connector = Connector::new(options, self.durability, self.limit);
        let starting = thread::start(connector, Arc::clone(&statements), Arc::clone(&bells));
        let desk = timeout(self.limit, starting).await.map_err(|_| {
            StoreError::unavailable("the SQLite file could not be opened within the time limit")
        })??;
        Ok(SqliteStore(Arc::new(Shared {
            desk,
            bells,
            statements,
            limit: self.limit,
        })))
    }
}

fn is_table_name(name: &str) -> bool {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let is_reserved = name
        .get(..7)
        .is_some_and(|start| start.eq_ignore_ascii_case("sqlite_"));
    starts_well
        && !is_reserved
        && name.len() <= MAX_TABLE_NAME
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_name_holds_no_sql() {
        for name in ["a", "_", "Records_2", &"x".repeat(63)] {
            assert!(is_table_name(name), "{name}");
        }
        for name in [
            "",
            "2",
            "a b",
            "a\"",
            "a;DROP TABLE b",
            "ä",
            "a.b",
            "SQLite_x",
            &"x".repeat(64),
        ] {
            assert!(!is_table_name(name), "{name}");
        }
    }
}
