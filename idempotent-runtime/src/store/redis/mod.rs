//! The store in Redis or Valkey.
//!
//! A claim is one native command (`SET … NX GET PX`), sent together with the question how long
//! what is there still lives. What must compare an owner is a script. Each verb touches one key,
//! so a cluster serves as well as one server.

mod bells;
mod builder;
mod examine;
mod inspect;
mod link;
mod script;
mod servers;
mod value;
mod verbs;

use std::{fmt, fmt::Write as _, future::Future, pin::Pin, sync::Arc, time::Duration};

use redis::sentinel::SentinelNodeConnectionInfo;
use tokio::time::timeout;

pub use self::builder::RedisStoreBuilder;
use self::{
    bells::{Bells, Heard},
    builder::Replicas,
    link::Link,
};
use super::{ClaimAnswer, Completion, Fence, Inspect, Notify, Store, StoreError};
use crate::core::{
    record::{Claim, RecordId},
    response::StoredResponse,
};

/// How often a waiter looks for itself while it would be told, and while it would not.
const LOOKS: [Duration; 2] = [Duration::from_secs(1), Duration::from_millis(100)];

/// Claims and records in Redis 7 or Valkey: one server, one with sentinels, or a cluster, shared
/// by any number of processes.
///
/// ```no_run
/// # async fn example() -> Result<(), idempotent_runtime::store::StoreError> {
/// use std::time::Duration;
/// use idempotent_runtime::RedisStore;
///
/// let store = RedisStore::builder()
///     .prefix("payments:idempotency:")
///     .timeout(Duration::from_secs(2))
///     .connect("redis://127.0.0.1:6379/0")
///     .await?;
/// store.ping().await?;
/// # Ok(()) }
/// ```
///
/// Cloning gives another handle on the same store. A store may be used from any number of
/// runtimes: it drives its two connections (one for verbs, and one, made when somebody first
/// waits, that hears when claims end; [`wait_for_replicas`](RedisStoreBuilder::wait_for_replicas)
/// adds a third) on a thread of its own, and makes them again when they are lost. Every verb answers within the [`timeout`](RedisStoreBuilder::timeout).
///
/// # What Redis can lose
///
/// Redis answers before a write is on disk or on a replica. So a claim or a record of the last
/// moments is lost when the master fails and a replica that does not have it takes its place, or
/// when the server is restarted (with `appendfsync everysec` up to a second is lost, without
/// persistence everything). What is lost was never there: **a retry then runs the handler a second
/// time.** A handler that is still running claims its id again at its next renewal, within a third
/// of its lease; a retry that comes before that runs beside it. No lock or script can change this;
/// what can:
///
/// - [`wait_for_replicas`](RedisStoreBuilder::wait_for_replicas) lets a claim or a completion
///   count only when replicas have it. Together with the server's `min-replicas-to-write`, which
///   stops a master that is cut off from its replicas, a failover seldom loses anything.
/// - `appendfsync always` closes the gap of a restart.
/// - A store in Postgres loses nothing that it has acknowledged, and can commit effect and record
///   together. Where a second run costs money, prefer it.
///
/// # Memory
///
/// The server must have `maxmemory-policy noeviction`. Another policy drops claims and records
/// while they are needed, and handlers run twice; the store asks for the policy when it connects
/// (`CONFIG GET`, where that is allowed) and warns. With `noeviction` a full server refuses claims
/// ([`StoreError::Full`]) and still answers for what it has. Redis has no way to reserve room, so
/// a completion can be refused as well: it is [`StoreError::Unavailable`], and is tried again
/// while the claim is renewed.
///
/// # What it needs
///
/// The commands `EVAL`, `EVALSHA`, `SET`, `GET`, `GETRANGE`, `EXISTS`, `DEL`, `PEXPIRE`, `PTTL`
/// and `PING` on keys under the prefix; with `SPUBLISH` and `SSUBSCRIBE` on channels of the same
/// names, waiters are woken at once and need not look every 100 ms. `INFO`, `CONFIG GET` and
/// `WAIT` where they are used; for operators `TIME`, and `APPEND` to write down when a claim was
/// granted that is renewed, and to list claims `SCAN`, and in a cluster `CLUSTER SLOTS`.
///
/// # TLS
///
/// An address such as `rediss://…` needs TLS in the `redis` crate, which is off by default. Name
/// that crate among your own dependencies, with the version that this one uses and the feature of
/// your choice: `redis = { version = "1", features = ["tokio-rustls-comp"] }`.
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

struct Inner {
    prefix: String,
    limit: Duration,
    replicas: Option<Replicas>,
    link: Link,
    /// Never sent a `WAIT`, which would hold up whatever comes behind it.
    unheld: Link,
    bells: Bells,
}

impl RedisStore {
    /// A store with settings of its own.
    pub fn builder() -> RedisStoreBuilder {
        RedisStoreBuilder::default()
    }

    /// Connects to one server with the default settings.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]; see [`RedisStoreBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::builder().connect(url).await
    }

    /// Connects to the master of this name with the default settings, wherever the sentinels say
    /// that it is.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]; see [`RedisStoreBuilder::connect_sentinel`].
    pub async fn connect_sentinel(sentinels: &[&str], master: &str) -> Result<Self, StoreError> {
        let node = SentinelNodeConnectionInfo::default();
        let sentinels = sentinels.iter().copied();
        Self::builder()
            .connect_sentinel(sentinels, master, node)
            .await
    }

    /// Connects to a cluster with the default settings.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]; see [`RedisStoreBuilder::connect_cluster`].
    pub async fn connect_cluster(nodes: &[&str]) -> Result<Self, StoreError> {
        Self::builder().connect_cluster(nodes.iter().copied()).await
    }

    /// Asks the server for a sign of life; for health endpoints.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when it gives none within the
    /// [`timeout`](RedisStoreBuilder::timeout).
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.within(self.ask_ping()).await
    }

    /// Bounds the time of a verb, from when it was called.
    async fn within<T>(
        &self,
        verb: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let replicas = self.0.replicas.map_or(Duration::ZERO, |all| all.limit);
        timeout(self.0.limit + replicas, verb)
            .await
            .unwrap_or_else(|elapsed| Err(StoreError::unavailable(elapsed)))
    }

    /// The key of an id: readable, so that an operator finds it by the hash in a log.
    fn key(&self, id: &RecordId) -> Vec<u8> {
        let mut key = String::with_capacity(self.0.prefix.len() + 64);
        key.push_str(&self.0.prefix);
        for byte in id.as_bytes() {
            // Writing to a string cannot fail.
            let _ = write!(key, "{byte:02x}");
        }
        key.into_bytes()
    }
}

impl Store for RedisStore {
    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, StoreError> {
        self.within(self.ask_claim(claim)).await
    }

    async fn complete(
        &self,
        claim: &Claim,
        response: &StoredResponse,
    ) -> Result<Completion, StoreError> {
        self.within(self.ask_complete(claim, response)).await
    }

    async fn release(&self, claim: &Claim) -> Result<Fence, StoreError> {
        self.within(self.ask_release(claim)).await
    }

    async fn renew(&self, claim: &Claim) -> Result<Fence, StoreError> {
        self.within(self.ask_renew(claim)).await
    }

    fn needs_lease(&self) -> bool {
        true
    }

    /// The claim ends with its lease.
    fn abandon(&self, _claim: &Claim) {}

    fn as_notify(&self) -> Option<&dyn Notify> {
        Some(self)
    }

    fn as_inspect(&self) -> Option<&dyn Inspect> {
        Some(self)
    }
}

impl Notify for RedisStore {
    fn ended<'a>(&'a self, claim: &'a Claim) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async {
            let Inner {
                link, limit, bells, ..
            } = &*self.0;
            let key = self.key(&claim.id);
            let mut listener = bells.listen(&key, link.driver(), link.servers(), *limit);
            let mut runs_for = None;
            loop {
                let connected = timeout(*limit, listener.connected()).await == Ok(true);
                // Only after it would be told: what ends before is seen here, and what ends
                // after is heard.
                match self.within(self.watch(&claim.id, &key)).await {
                    Ok(Some(owner)) if runs_for.is_none_or(|before| before == owner) => {
                        runs_for = Some(owner);
                    }
                    // A server that cannot be asked may be asked again later.
                    Err(StoreError::Unavailable(_)) => {}
                    // Nobody, somebody else, or something that the next claim will tell.
                    Ok(_) | Err(_) => return,
                }
                let [seldom, often] = LOOKS;
                let pause = if connected { seldom } else { often };
                if let Ok(Heard::Ended) = timeout(pause, listener.heard()).await {
                    return;
                }
            }
        })
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisStore")
            .field("servers", self.0.link.servers())
            .field("prefix", &self.0.prefix)
            .field("timeout", &self.0.limit)
            .field("replicas", &self.0.replicas)
            .finish_non_exhaustive()
    }
}
