//! What SQLite's errors mean for a verb.

use std::{error::Error, fmt, sync::Arc};

use crate::store::StoreError;

// https://sqlite.org/rescode.html
const ERROR: i32 = 1;
const BUSY: i32 = 5;
const NO_MEMORY: i32 = 7;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const PROTOCOL: i32 = 15;
const NOT_A_DATABASE: i32 = 26;

/// Something that the driver could not do. Cloned for every verb that depended on it.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    doing: &'static str,
    source: Arc<sqlx::Error>,
}

impl Failure {
    /// For `map_err`.
    pub(super) fn of(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self {
            doing,
            source: Arc::new(source),
        }
    }

    /// Another connection is in the way, for now.
    pub(super) fn is_busy(&self) -> bool {
        // The latter: others open and close the file faster than we can follow.
        matches!(self.code(), Some(BUSY | PROTOCOL))
    }

    /// There is no room on the disk, or no memory. Nothing was committed.
    pub(super) fn is_full(&self) -> bool {
        matches!(self.code(), Some(FULL | NO_MEMORY))
    }

    /// The connection has no transaction that could be rolled back: SQLite has done so by itself.
    pub(super) fn is_no_transaction(&self) -> bool {
        self.says("no transaction is active")
    }

    /// SQLite itself has said so: the connection to it stands.
    pub(super) fn is_of_database(&self) -> bool {
        self.source.as_database_error().is_some()
    }

    /// What it means for a verb that asks for room, and can be refused without harm.
    pub(super) fn refusing(&self) -> StoreError {
        if self.is_full() {
            return StoreError::Full;
        }
        self.failing()
    }

    /// What it means for any other verb.
    pub(super) fn failing(&self) -> StoreError {
        match self.code() {
            Some(CORRUPT | NOT_A_DATABASE) => StoreError::unreadable(self.clone()),
            Some(ERROR) if self.says("no such table") => StoreError::unavailable(NotMigrated {
                source: self.clone(),
            }),
            _ => StoreError::unavailable(self.clone()),
        }
    }

    /// The primary result code.
    fn code(&self) -> Option<i32> {
        let code: i32 = self.source.as_database_error()?.code()?.parse().ok()?;
        Some(code & 0xff)
    }

    fn says(&self, text: &str) -> bool {
        self.source
            .as_database_error()
            .is_some_and(|error| error.message().contains(text))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} failed: {}", self.doing, self.source)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

#[derive(Debug)]
struct NotMigrated {
    source: Failure,
}

impl fmt::Display for NotMigrated {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(
            "the table of the records is not there; call `SqliteStore::migrate` at the start, or \
             run `sql/sqlite.sql`",
        )
    }
}

impl Error for NotMigrated {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
