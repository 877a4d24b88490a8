//! Claims and records in a SQLite file.
//!
//! Everything that writes goes through one connection, which carries out whatever is waiting in
//! one transaction ([`writer`]). What a verb makes of a row is plain code ([`rules`]), because
//! whoever holds SQLite's write lock is alone.

mod bells;
mod builder;
mod connect;
mod failure;
mod inspect;
mod patience;
mod reader;
mod rules;
mod statements;
mod sweep;
mod thread;
mod transaction;
mod verb;
mod writer;

use std::{fmt, future::Future, path::Path, pin::Pin, sync::Arc, time::Duration};

use sqlx::SqlitePool;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

pub use self::builder::{Durability, SqliteStoreBuilder};
use self::{
    bells::Bells,
    statements::Statements,
    thread::Desk,
    verb::{Answer, Asked, Order, Question, Verb},
};
use super::{ClaimAnswer, Completion, Fence, Inspect, Notify, Store, StoreError, Transactional};
use crate::core::{record::Claim, response::StoredResponse};

/// How often a waiter looks whether another process has ended a claim.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Claims and records in a SQLite file: durable, and without a server.
///
/// ```
/// use idempotent_runtime::SqliteStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), idempotent_runtime::store::StoreError> {
/// # let folder = std::env::temp_dir().join(format!("idempotent-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// # let path = folder.join("records.db");
/// let store = SqliteStore::open(path).await?;
/// store.migrate().await?;
/// tokio::spawn(store.sweep_every(std::time::Duration::from_secs(60)));
/// # std::fs::remove_dir_all(folder).unwrap();
/// # Ok(())
/// # }
/// ```
///
/// # Durability
///
/// The file is in WAL mode. Every answer is given after the transaction behind it is on the disk
/// ([`Durability::Full`]); concurrent claims and completions share a transaction, so that the
/// disk is not asked once for each. A replay writes nothing and waits for no disk.
///
/// # Several processes
///
/// May share the file, on one machine. Only one of them writes at a time. While another
/// connection holds the write lock, verbs wait, up to the store's
/// [time limit](SqliteStoreBuilder::timeout); nothing is granted to anybody meanwhile. Times are
/// compared by SQLite's clock, which is the machine's. If it is set back or ahead, leases and
/// lifetimes end as much later or earlier.
///
/// A waiter is woken at once when the claim ends through the same store; when it ends in another
/// process, or in a transaction of the user's own, within about 50 ms.
///
/// # Errors
///
/// [`StoreError::Full`] when the disk has no room for a claim. Room for the response is not
/// reserved: a completion that finds the disk full is [`StoreError::Unavailable`] and is tried
/// again. Also `Unavailable`: no answer within the time limit, and a file without the table, which
/// [`migrate`](Self::migrate) creates. [`StoreError::Unreadable`]: the record or the file is
/// damaged, or another version has written it.
///
/// # Handles
///
/// Cloning gives another handle. The store has a thread of its own, and works from any runtime
/// (with tokio's timer). The thread ends when the last handle is dropped and what was asked is
/// done. A verb whose future is dropped is carried out entirely or not at all: a completion or a
/// release is, unless the write lock cannot be had within the time limit.
#[derive(Clone)]
pub struct SqliteStore(Arc<Shared>);

struct Shared {
    desk: Desk,
    bells: Arc<Bells>,
    statements: Arc<Statements>,
    limit: Duration,
}

impl SqliteStore {
    /// Sets the table, the durability and the time limit.
    pub fn builder() -> SqliteStoreBuilder {
        SqliteStoreBuilder::new()
    }

    /// Opens a file with the default settings. It is created if it is missing; its folder is not.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the file cannot be opened, is no SQLite database, or is
    /// one in memory. The error's source says which.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::builder().open(path).await
    }

    /// Uses the file of a pool, with the default settings: see
    /// [`SqliteStoreBuilder::with_pool`].
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub async fn with_pool(pool: &SqlitePool) -> Result<Self, StoreError> {
        Self::builder().with_pool(pool).await
    }

    /// Creates the table and its index where they are not there: what `sql/sqlite.sql` says, in
    /// one transaction; a table of an earlier version gets the columns that it lacks. May be
    /// called at every start, and by several processes at once.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn migrate(&self) -> Result<(), StoreError> {
        self.order(Order::Migrate).await
    }

    /// Looks whether the file and the table can be read. For health checks.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or [`StoreError::Unreadable`] for a damaged file.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.ask(Question::Ping).await
    }

    async fn ask<T>(&self, question: impl FnOnce(Answer<T>) -> Question) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.0.desk.ask(question(answer));
        self.within_limit(answered).await
    }

    async fn order<T>(&self, order: impl FnOnce(Answer<T>) -> Order) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.0.desk.order(order(answer));
        self.within_limit(answered).await
    }

    async fn verb<T>(&self, verb: impl FnOnce(Asked<T>) -> Verb) -> Result<T, StoreError> {
        self.order(|answer| Order::Verb(verb(Asked::new(answer))))
            .await
    }

    async fn within_limit<T>(
        &self,
        answered: oneshot::Receiver<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match timeout(self.0.limit, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(StoreError::unavailable("the store's thread has ended")),
            Err(_) => Err(StoreError::unavailable(format!(
                "SQLite did not answer within {:?}; another connection may hold the write lock",
                self.0.limit
            ))),
        }
    }
}

impl Store for SqliteStore {
    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, StoreError> {
        let claim = *claim;
        self.ask(|answer| Question::Claim(claim, answer)).await
    }

    async fn complete(
        &self,
        claim: &Claim,
        response: &StoredResponse,
    ) -> Result<Completion, StoreError> {
        let (claim, response) = (*claim, response.clone());
        self.verb(|asked| Verb::Complete(claim, response, asked))
            .await
    }

    async fn release(&self, claim: &Claim) -> Result<Fence, StoreError> {
        let claim = *claim;
        self.verb(|asked| Verb::Release(claim, asked)).await
    }

    async fn renew(&self, claim: &Claim) -> Result<Fence, StoreError> {
        let claim = *claim;
        self.verb(|asked| Verb::Renew(claim, asked)).await
    }

    fn needs_lease(&self) -> bool {
        true
    }

    /// Leaves the claim to its lease.
    fn abandon(&self, _claim: &Claim) {}

    fn as_notify(&self) -> Option<&dyn Notify> {
        Some(self)
    }

    fn as_transactional(&self) -> Option<&dyn Transactional> {
        Some(self)
    }

    fn as_inspect(&self) -> Option<&dyn Inspect> {
        Some(self)
    }
}

impl Notify for SqliteStore {
    fn ended<'a>(&'a self, claim: &'a Claim) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async {
            let listener = self.0.bells.listen(claim.id);
            loop {
                // It hears every ring from here on; what came before is seen in the file.
                let rung = listener.bell.notified();
                match self.ask(|it| Question::IsRunning(claim.id, it)).await {
                    // Where nobody can read what is there, waiting does not help.
                    Ok(false) | Err(StoreError::Unreadable(_)) => return,
                    // Nor does asking without pause.
                    Err(_) => sleep(LOOK_PAUSE).await,
                    Ok(true) => {}
                }
                if timeout(LOOK_PAUSE, rung).await.is_ok() {
                    return;
                }
            }
        })
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SqliteStore")
            .field("limit", &self.0.limit)
            .finish_non_exhaustive()
    }
}
