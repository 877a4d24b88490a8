//! The stores that the suite runs on.

use std::{str::FromStr, sync::Arc, time::Duration};

use idempotent_runtime::{
    Claim, Encrypted, MemoryStore, NearCache, PostgresStore, RedisStore, SealingKey, SqliteStore,
    Store, StoredResponse,
    store::{
        ClaimAnswer, Completion, Fence, Inspect, MemoryUsage, Notify, StoreError, Transactional,
        contract::{Harness, check},
    },
};
use sqlx::{
    PgPool, SqlitePool,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::SqliteConnectOptions,
};
use tempfile::TempDir;

use crate::{database::Database, proxy::Proxy};

/// Which store a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In memory, with a clock that stands still.
    Memory,
    /// In a SQLite file.
    Sqlite,
    /// In the PostgreSQL that `POSTGRES_URL` names.
    Postgres,
    /// In the Redis that `REDIS_URL` names.
    Redis,
    /// A near cache of a SQLite file.
    NearCache,
    /// Sealed, in a SQLite file.
    Encrypted,
}

/// A place where several processes may have their store.
#[derive(Clone, Debug)]
pub struct Place {
    pub(crate) kind: Kind,
    /// What keeps its records apart from those of other tests.
    pub namespace: String,
    folder: Arc<TempDir>,
    proxy: Option<Proxy>,
}

/// A store of one of the kinds.
#[derive(Clone, Debug)]
#[allow(missing_docs, clippy::exhaustive_enums)] // As the kinds.
pub enum Backend {
    Memory(MemoryStore),
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
    Redis(RedisStore),
    NearCache(Arc<NearCache<SqliteStore>>),
    Encrypted(Arc<Encrypted<SqliteStore>>),
}

impl Place {
    /// A place that nobody else has.
    pub fn new(kind: Kind, namespace: String) -> Self {
        Self {
            kind,
            namespace,
            folder: Arc::new(tempfile::tempdir().unwrap()),
            proxy: None,
        }
    }

    /// Puts a wire that can be cut in front of its server.
    pub(crate) async fn behind_proxy(&mut self) -> Proxy {
        let url = match self.kind {
            Kind::Postgres => env("POSTGRES_URL"),
            Kind::Redis => env("REDIS_URL"),
            kind => panic!("{kind:?} has no server"),
        };
        let proxy = Proxy::before(authority(&url).to_owned()).await;
        self.proxy = Some(proxy.clone());
        proxy
    }

    /// A store there, as a process would open it.
    pub async fn open(&self) -> Backend {
        match self.kind {
            Kind::Memory => Backend::Memory(MemoryStore::default()),
            Kind::Sqlite => Backend::Sqlite(self.sqlite().await),
            Kind::Postgres => {
                let store = PostgresStore::new(self.postgres_pool());
                store.migrate().await.unwrap();
                Backend::Postgres(store)
            }
            Kind::Redis => {
                let url = self.through_proxy(&env("REDIS_URL"));
                Backend::Redis(RedisStore::connect(&url).await.unwrap())
            }
            Kind::NearCache => {
                let store = NearCache::new(self.sqlite().await, 1 << 20);
                Backend::NearCache(Arc::new(store))
            }
            Kind::Encrypted => {
                let key = SealingKey::new([7; 32]);
                Backend::Encrypted(Arc::new(Encrypted::new(self.sqlite().await, key)))
            }
        }
    }

    /// The database that the store is in, if it is in one that has transactions.
    pub async fn database(&self) -> Option<Database> {
        let database = match self.kind {
            Kind::Memory | Kind::Redis => return None,
            Kind::Sqlite | Kind::NearCache | Kind::Encrypted => {
                let file = SqliteConnectOptions::new()
                    .filename(self.file())
                    .create_if_missing(true);
                Database::Sqlite(SqlitePool::connect_lazy_with(file))
            }
            Kind::Postgres => Database::Postgres(self.postgres_pool()),
        };
        database.prepare().await;
        Some(database)
    }

    async fn sqlite(&self) -> SqliteStore {
        let store = SqliteStore::open(self.file()).await.unwrap();
        store.migrate().await.unwrap();
        store
    }

    pub(crate) fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("records.db")
    }

    fn postgres_pool(&self) -> PgPool {
        let url = self.through_proxy(&env("POSTGRES_URL"));
        PgPoolOptions::new()
            .max_connections(4)
            .connect_lazy_with(PgConnectOptions::from_str(&url).unwrap())
    }

    fn through_proxy(&self, url: &str) -> String {
        match &self.proxy {
            Some(proxy) => url.replace(authority(url), &proxy.address().to_string()),
            None => url.to_owned(),
        }
    }
}

/// Checks the contract of stores that are made over one that outlives the process.
///
/// # Panics
///
/// Where it does not hold.
pub async fn keeps_the_contract<S: Store>(kind: Kind, over: impl AsyncFn(Backend) -> S) {
    struct Over<F> {
        place: Place,
        over: F,
    }

    impl<S: Store, F: AsyncFn(Backend) -> S> Harness for Over<F> {
        type Store = S;

        async fn store(&self) -> S {
            (self.over)(self.place.open().await).await
        }

        async fn advance(&self, duration: Duration) {
            // The clock is the server's.
            tokio::time::sleep(duration).await;
        }

        async fn store_with_room_for(&self, _: usize) -> Option<S> {
            None
        }
    }

    let place = Place::new(kind, String::new());
    check(&Over { place, over }).await;
}

/// Host and port.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split_once('@').map_or(rest, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest)
}

pub(crate) fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} names no server: use tests/run"))
}

macro_rules! each {
    ($backend:expr, $store:ident => $what:expr) => {
        match $backend {
            Backend::Memory($store) => $what,
            Backend::Sqlite($store) => $what,
            Backend::Postgres($store) => $what,
            Backend::Redis($store) => $what,
            Backend::NearCache($store) => $what,
            Backend::Encrypted($store) => $what,
        }
    };
}

impl Store for Backend {
    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, StoreError> {
        each!(self, store => Box::pin(store.claim(claim)).await)
    }

    async fn complete(
        &self,
        claim: &Claim,
        response: &StoredResponse,
    ) -> Result<Completion, StoreError> {
        each!(self, store => Box::pin(store.complete(claim, response)).await)
    }

    async fn release(&self, claim: &Claim) -> Result<Fence, StoreError> {
        each!(self, store => Box::pin(store.release(claim)).await)
    }

    async fn renew(&self, claim: &Claim) -> Result<Fence, StoreError> {
        each!(self, store => Box::pin(store.renew(claim)).await)
    }

    fn needs_lease(&self) -> bool {
        each!(self, store => store.needs_lease())
    }

    fn abandon(&self, claim: &Claim) {
        each!(self, store => store.abandon(claim));
    }

    fn as_notify(&self) -> Option<&dyn Notify> {
        each!(self, store => store.as_notify())
    }

    fn as_transactional(&self) -> Option<&dyn Transactional> {
        each!(self, store => store.as_transactional())
    }

    fn as_inspect(&self) -> Option<&dyn Inspect> {
        each!(self, store => store.as_inspect())
    }

    fn memory_usage(&self) -> MemoryUsage {
        each!(self, store => store.memory_usage())
    }
}
