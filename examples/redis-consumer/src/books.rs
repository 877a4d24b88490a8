//! The effect: an entry in the books, made once for each event.

use std::{error::Error, fmt, time::Duration};

use idempotent_runtime::{CommitInError, Idempotency, Once, OnceError, Scope, SqliteStore};
use serde::{Deserialize, Serialize};
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};

/// How long an outcome is remembered: longer than a message can be delivered again.
const TTL: Duration = Duration::from_hours(7 * 24);

/// What happened elsewhere, and is to be entered into the books once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Paid {
    /// The event's own id, which it has in every message that tells of it.
    pub(crate) id: String,
    pub(crate) amount: i64,
}

/// The books, and the runtime that remembers what was entered.
#[derive(Clone)]
pub(crate) struct Books {
    pool: SqlitePool,
    pub(crate) idempotency: Idempotency,
    /// Where to stand still, so that the process can be killed there.
    pause: Option<String>,
}

impl Books {
    /// Opens the books in a SQLite file, with the records beside them: only so can both be
    /// committed in one transaction.
    pub(crate) async fn open(file: &str) -> Result<Self, Box<dyn Error>> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal);
        let pool = SqlitePool::connect_with(options).await?;
        sqlx::query(
            "CREATE TABLE IF NOT EXISTS entries \
             (id INTEGER PRIMARY KEY, event TEXT NOT NULL, amount INTEGER NOT NULL)",
        )
        .execute(&pool)
        .await?;

        let store = SqliteStore::with_pool(&pool).await?;
        store.migrate().await?;
        tokio::spawn(store.sweep_every(Duration::from_mins(1)));
        let mut builder = Idempotency::builder(store);
        if let Ok(seconds) = std::env::var("LEASE_SECONDS") {
            builder = builder.lease(Duration::from_secs(seconds.parse()?));
        }
        Ok(Self {
            pool,
            idempotency: builder.build(),
            pause: std::env::var("PAUSE").ok(),
        })
    }

    /// Every entry: its number, event and amount.
    pub(crate) async fn entries(&self) -> Result<Vec<(i64, String, i64)>, sqlx::Error> {
        sqlx::query_as("SELECT id, event, amount FROM entries ORDER BY id")
            .fetch_all(&self.pool)
            .await
    }

    /// Stands still for good, if it is to be killed here; or panics.
    pub(crate) async fn pause(&self, place: &str, event: &str) {
        if self.pause.as_deref() == Some(place) {
            println!("paused {place} of {event}");
            std::future::pending::<()>().await;
        }
        let panics = self.pause.as_deref() == Some("panic") && place == "before-commit";
        assert!(!panics, "told to panic, at {event}");
    }
}

/// Enters an event, once. Gives the entry's number, and whether it had been entered before.
pub(crate) async fn enter(books: &Books, event: Paid) -> Result<Once<i64>, Failed> {
    let (books, id) = (books.clone(), event.id.clone());
    let once = books
        .idempotency
        // What all messages of one event have in common is its own id, and not the stream's.
        .once("enter payment", Scope::global(), &id)
        // Another event that has been given the same id by mistake is refused.
        .payload(&event)
        // A copy that comes while the first is being entered waits for it, for a while.
        .wait(Duration::from_secs(10))
        .ttl(TTL);
    once.try_run_with(move |execution| async move {
        let mut transaction = books.pool.begin_with("BEGIN IMMEDIATE").await?;
        let entry = sqlx::query("INSERT INTO entries (event, amount) VALUES (?, ?)")
            .bind(&id)
            .bind(event.amount)
            .execute(&mut *transaction)
            .await?
            .last_insert_rowid();
        books.pause("before-commit", &id).await;
        let entry = execution.commit_in(&mut transaction, entry).await?;
        Ok(entry.commit(transaction).await?)
    })
    .await
}

/// Why an event was not entered.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The database failed, and nothing was committed.
    Database(sqlx::Error),
    /// Entry and record were not committed, or it is not known whether they were; the next
    /// attempt finds out.
    Commit(CommitInError),
    /// This attempt was not made.
    Refused(OnceError),
}

impl Failed {
    /// When the message may be tried again; `None` for one that will fail for ever.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Database(_) | Self::Commit(_) => Some(Duration::from_secs(1)),
            Self::Refused(error) => error.retry_after(),
        }
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<CommitInError> for Failed {
    fn from(error: CommitInError) -> Self {
        Self::Commit(error)
    }
}

impl From<OnceError> for Failed {
    fn from(error: OnceError) -> Self {
        Self::Refused(error)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => write!(formatter, "the database failed: {error}"),
            Self::Commit(error) => error.fmt(formatter),
            Self::Refused(error) => error.fmt(formatter),
        }
    }
}

impl Error for Failed {}
