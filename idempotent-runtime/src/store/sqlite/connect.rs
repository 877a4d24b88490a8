//! The store's own connections to the file.

use std::{error::Error, fmt, path::PathBuf, time::Duration};

use sqlx::{
    ConnectOptions, Connection, Row, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqliteSynchronous},
};
use tokio::time::{Instant, sleep};

use super::{builder::Durability, failure::Failure};
use crate::store::StoreError;

/// How long SQLite waits by itself for the write lock, before we look who still wants it.
const LOCK_WAIT: Duration = Duration::from_millis(5);
/// A pause between attempts to open a file that another process is just opening or repairing.
const OPEN_PAUSE: Duration = Duration::from_millis(20);

/// How to open the file.
pub(super) struct Connector {
    options: SqliteConnectOptions,
    limit: Duration,
}

impl Connector {
    pub(super) fn new(
        options: SqliteConnectOptions,
        durability: Durability,
        limit: Duration,
    ) -> Self {
        let is_full = durability == Durability::Full;
        let on_or_off = if is_full { "ON" } else { "OFF" };
        let options = options
            .read_only(false)
            .immutable(false)
            // Each of its connections would be refused by the others' table locks.
            .shared_cache(false)
            .locking_mode(SqliteLockingMode::Normal)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(if is_full {
                SqliteSynchronous::Full
            } else {
                SqliteSynchronous::Normal
            })
            // Where `fsync` alone does not reach the disk (macOS); elsewhere they mean nothing.
            .pragma("fullfsync", on_or_off)
            .pragma("checkpoint_fullfsync", on_or_off)
            .busy_timeout(LOCK_WAIT)
            .disable_statement_logging();
        Self { options, limit }
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Opens the connection that writes and the one that reads.
    pub(super) async fn open(self) -> Result<(Line, Line), StoreError> {
        let path = self.options.get_filename().to_owned();
        let failed = |reason| StoreError::unavailable(NotOpened { path, reason });
        let writing = match self.connect().await {
            Ok(writing) => writing,
            Err(reason) => return Err(failed(reason)),
        };
        // From here on a file that is gone is an error, and not an empty store.
        let write = self.options.create_if_missing(false);
        let read = write
            .clone()
            .pragma("query_only", "ON")
            .busy_timeout(self.limit);
        let reading = match read.connect().await {
            Ok(reading) => reading,
            Err(error) => return Err(failed(Reason::Driver(Failure::of("connecting")(error)))),
        };
        Ok((Line::new(write, writing), Line::new(read, reading)))
    }

    async fn connect(&self) -> Result<SqliteConnection, Reason> {
        let deadline = Instant::now() + self.limit;
        loop {
            let failure = match self.options.connect().await {
                Ok(connection) => return checked(connection).await,
                Err(error) => Failure::of("connecting")(error),
            };
            // The change to WAL needs the file for itself, and does not wait for that.
            if !failure.is_busy() || deadline <= Instant::now() {
                return Err(Reason::Driver(failure));
            }
            sleep(OPEN_PAUSE).await;
        }
    }
}

/// Looks whether the connection is to a file, and the file in WAL mode.
async fn checked(mut connection: SqliteConnection) -> Result<SqliteConnection, Reason> {
    let row = sqlx::query(
        "SELECT (SELECT file FROM pragma_database_list WHERE name = 'main'), journal_mode \
         FROM pragma_journal_mode",
    )
    .fetch_one(&mut connection)
    .await
    .and_then(|row| {
        let file: Option<String> = row.try_get(0)?;
        Ok((file, row.try_get::<String, _>(1)?))
    });
    let (file, mode) = row.map_err(|error| Reason::Driver(Failure::of("checking")(error)))?;
    if file.is_none_or(|file| file.is_empty()) {
        return Err(Reason::InMemory);
    }
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(Reason::NoWal);
    }
    Ok(connection)
}

/// A connection that is opened anew after it broke.
pub(super) struct Line {
    options: SqliteConnectOptions,
    connection: Option<SqliteConnection>,
}

impl Line {
    fn new(options: SqliteConnectOptions, connection: SqliteConnection) -> Self {
        Self {
            options,
            connection: Some(connection),
        }
    }

    pub(super) async fn get(&mut self) -> Result<&mut SqliteConnection, Failure> {
        let connection = if let Some(connection) = self.connection.take() {
            connection
        } else {
            let connected = self.options.connect().await;
            connected.map_err(Failure::of("connecting"))?
        };
        Ok(self.connection.insert(connection))
    }

    /// Passes a result on, and gives up a connection that cannot be used any more.
    pub(super) fn checked<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &result
            && !failure.is_of_database()
        {
            self.give_up();
        }
        result
    }

    /// Closes the connection, and with it what it was doing.
    pub(super) fn give_up(&mut self) {
        self.connection = None;
    }

    pub(super) async fn close(self) {
        if let Some(connection) = self.connection {
            // Everything is committed; what closing tidies up, the next opening does too.
            let _ = connection.close().await;
        }
    }
}

#[derive(Debug)]
struct NotOpened {
    path: PathBuf,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    InMemory,
    NoWal,
    Driver(Failure),
}

impl fmt::Display for NotOpened {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.reason {
            Reason::InMemory => formatter.write_str(
                "a database in memory cannot be shared by the store's connections; give a file, \
                 or use the memory store",
            ),
            Reason::NoWal => write!(
                formatter,
                "the SQLite file `{path}` cannot be put into WAL mode; is it on a network drive?"
            ),
            Reason::Driver(failure) => write!(
                formatter,
                "the SQLite file `{path}` cannot be opened: {failure}"
            ),
        }
    }
}

impl Error for NotOpened {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.reason {
            Reason::InMemory | Reason::NoWal => None,
            Reason::Driver(failure) => Some(failure),
        }
    }
}
