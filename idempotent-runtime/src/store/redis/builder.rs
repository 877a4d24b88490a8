//! How a [`RedisStore`] is set up.

use std::{fmt, sync::Arc, time::Duration};

use redis::{IntoConnectionInfo, RedisResult, sentinel::SentinelNodeConnectionInfo};

use super::{
    RedisStore,
    bells::Bells,
    link::{Driver, Link},
    servers::Servers,
    verbs::failed,
};
use crate::store::StoreError;

/// A longer one would be most of what a record takes.
const LONGEST_PREFIX: usize = 100;

/// A limit beyond this is none, and sums of limits must not overflow.
const LONGEST_TIMEOUT: Duration = Duration::from_hours(1);

/// Sets the names, the time limit and the durability of a [`RedisStore`], and connects it.
#[derive(Clone)]
#[must_use]
pub struct RedisStoreBuilder {
    prefix: String,
    timeout: Duration,
    replicas: Option<Replicas>,
}

/// How many replicas must have a write before it counts, and how long they may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replicas {
    pub(super) count: u32,
    pub(super) limit: Duration,
}

impl Default for RedisStoreBuilder {
    fn default() -> Self {
        Self {
            prefix: "idempotency:".to_owned(),
            timeout: Duration::from_secs(5),
            replicas: None,
        }
    }
}

impl RedisStoreBuilder {
    /// What every key of this store begins with, `idempotency:` unless set: 1 to 100 visible ASCII
    /// characters other than `{` and `}`, which in a cluster would put all keys into one slot.
    /// Checked when the store connects.
    ///
    /// Stores with the same prefix on the same server and database share their records. Stores
    /// with another one do not know of each other.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long a verb, a [`ping`](RedisStore::ping) or an attempt to connect may take, 5 seconds
    /// unless set. It includes making a lost connection again. After it the answer is
    /// [`StoreError::Unavailable`], and whether the verb was carried out is unknown; asking again
    /// is safe.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit.min(LONGEST_TIMEOUT);
        self
    }

    /// Lets a claim or a completion count only when at least `count` replicas have it, for which
    /// they get `limit` more time. With fewer the claim is given back, and the answer is
    /// [`StoreError::Unavailable`]; a completion is tried again by the engine.
    ///
    /// This makes it much less likely that a failover loses a claim or a record, and does not
    /// rule it out: the replica that is promoted need not be one that answered. The connection is
    /// held up while the replicas answer (`WAIT`), so the number of claims and completions per
    /// second is bounded by their round trip, and while too few are there by `limit`. Leases are
    /// renewed, and claims that are waited for are looked at, on a third connection that nothing
    /// holds up: a running handler keeps its claim while its replicas are away. Not for clusters:
    /// to connect to one is an error then.
    pub fn wait_for_replicas(mut self, count: u32, limit: Duration) -> Self {
        let limit = limit.min(LONGEST_TIMEOUT);
        self.replicas = Some(Replicas { count, limit });
        self
    }

    /// Connects to one server: an address such as `redis://user:password@host:6379/0`, or what
    /// the `redis` crate takes for one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when a setting or the address is not usable, the server does
    /// not answer in time, or it is older than version 7.
    pub async fn connect(self, server: impl IntoConnectionInfo) -> Result<RedisStore, StoreError> {
        let servers = Servers::single(server);
        self.connect_to(servers).await
    }

    /// Connects to the master of this name, wherever the sentinels say that it is. After a
    /// failover they are asked again. Sentinels and servers may have different passwords: those
    /// of the servers are in `node`.
    ///
    /// # Errors
    ///
    /// As those of [`connect`](Self::connect).
    pub async fn connect_sentinel<T: IntoConnectionInfo>(
        self,
        sentinels: impl IntoIterator<Item = T>,
        master: &str,
        node: SentinelNodeConnectionInfo,
    ) -> Result<RedisStore, StoreError> {
        let servers = Servers::sentinel(sentinels, master, node);
        self.connect_to(servers).await
    }

    /// Connects to a cluster; a few of its nodes are enough to find the others. Every verb touches
    /// one key.
    ///
    /// # Errors
    ///
    /// As those of [`connect`](Self::connect).
    pub async fn connect_cluster<T: IntoConnectionInfo>(
        self,
        nodes: impl IntoIterator<Item = T>,
    ) -> Result<RedisStore, StoreError> {
        let servers = Servers::cluster(nodes);
        self.connect_to(servers).await
    }

    async fn connect_to(self, servers: RedisResult<Servers>) -> Result<RedisStore, StoreError> {
        let usable = self
            .prefix
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'{' && byte != b'}');
        if !usable || !(1..=LONGEST_PREFIX).contains(&self.prefix.len()) {
            return Err(StoreError::unavailable(
                "the prefix must be 1 to 100 visible ASCII characters other than `{` and `}`",
            ));
        }
        let servers = servers.map_err(failed)?;
        if servers.is_cluster() && self.replicas.is_some() {
            return Err(StoreError::unavailable(
                "waiting for replicas is not supported in a cluster",
            ));
        }
        let driver = Driver::start().map_err(StoreError::unavailable)?;
        let link = Link::new(Arc::new(driver), Arc::new(servers), self.timeout);
        let store = RedisStore(Arc::new(super::Inner {
            prefix: self.prefix,
            limit: self.timeout,
            replicas: self.replicas,
            unheld: match self.replicas {
                Some(_) => link.beside(),
                None => link.clone(),
            },
            link,
            bells: Bells::default(),
        }));
        store.examine().await?;
        Ok(store)
    }
}

impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisStoreBuilder")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("replicas", &self.replicas)
            .finish()
    }
}
