//! What a failure of the database means for the store.

use std::{error::Error, fmt, time::Duration};

use super::{answer::Failure, table::Table};
use crate::store::StoreError;

/// An explanation, with what was heard from the database.
#[derive(Debug)]
struct Explained {
    what: String,
    source: Option<sqlx::Error>,
}

impl fmt::Display for Explained {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.what)
    }
}

impl Error for Explained {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

fn explained(what: String, source: Option<sqlx::Error>) -> StoreError {
    StoreError::unavailable(Explained { what, source })
}

impl Failure {
    /// Whether the same statement may pass if it is sent again: after a serialization failure or
    /// a deadlock, where nothing was done, and on another connection when this one was lost,
    /// because a verb that was carried out is recognised by its owner.
    pub(super) fn is_transient(&self) -> bool {
        let is_refused =
            matches!(self, Self::Database(error) if matches!(&*code(error), "40001" | "40P01"));
        is_refused || self.is_lost()
    }

    /// Whether the connection was lost, and with it the answer: broken, or ended by the server
    /// (which says so to whoever uses it next) for a shutdown, an administrator or its idleness.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Io(_)) => true,
            Self::Database(error) => code(error).starts_with("57P"),
            Self::Unreadable(_) => false,
        }
    }

    /// Whether a transaction that is writing this very id did not end in time.
    pub(super) fn is_locked(&self) -> bool {
        matches!(self, Self::Database(error) if &*code(error) == "55P03")
    }

    /// The store's answer. `claims` when it was asked for a claim, and may be without room.
    pub(super) fn into_store_error(self, table: &Table, claims: bool) -> StoreError {
        match self {
            Self::Unreadable(error) => error,
            Self::Database(error) => store_error(error, table, claims),
        }
    }
}

fn code(error: &sqlx::Error) -> String {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.unwrap_or_default().into_owned()
}

/// The store's answer to a failure of the database.
pub(super) fn store_error(error: sqlx::Error, table: &Table, claims: bool) -> StoreError {
    let what = match &*code(&error) {
        // The disk is full, or the memory.
        "53100" | "53200" if claims => return StoreError::Full,
        // No such schema, table, column or function.
        "3F000" | "42P01" | "42703" | "42883" => format!(
            "the table {table} is not there, or not in its present form: call \
             `PostgresStore::migrate()` or run sql/postgres.sql"
        ),
        "55P03" => "another transaction is writing this id and did not end in time".to_owned(),
        _ => return StoreError::unavailable(error),
    };
    explained(what, Some(error))
}

/// There was no answer.
pub(super) fn timed_out(limit: Duration) -> StoreError {
    let what = format!("PostgreSQL, or a free connection to it, took longer than {limit:?}");
    explained(what, None)
}

/// Somebody else was always faster.
pub(super) fn contended() -> StoreError {
    explained(
        "the id is being claimed and freed all the time".to_owned(),
        None,
    )
}

/// The thread that renews and waits could not be started, or ended.
pub(super) fn unattended(source: impl fmt::Display) -> StoreError {
    explained(
        format!("the store's own thread does not run: {source}"),
        None,
    )
}

/// A renewal among several failed with this.
pub(super) fn renewal_failed(error: Option<&StoreError>) -> StoreError {
    let mut what = "the lease could not be renewed".to_owned();
    let mut source = error.and_then(Error::source);
    while let Some(error) = source {
        what = format!("{what}: {error}");
        source = error.source();
    }
    explained(what, None)
}
