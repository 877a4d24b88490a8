//! The store in this process's memory.
//!
//! Claims and records live side by side in a sharded map: the step from one to the other is one
//! assignment under one lock. Nothing is ever evicted. Expired records are removed a few at a
//! time, by whoever adds one to their shard, so that no request waits for a sweep.

mod budget;
mod inspect;
mod shard;

use std::{
    fmt,
    future::Future,
    hash::BuildHasher,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;

use self::{budget::Budget, shard::Shard};
use super::{ClaimAnswer, Completion, Fence, Inspect, MemoryUsage, Notify, Store, StoreError};
use crate::{
    clock::{Clock, SystemClock},
    core::{
        record::{Claim, RecordId},
        response::StoredResponse,
    },
};

/// Enough that a shard of a million records grows without anybody noticing (4,000 entries are
/// moved in about 0.1 ms), few enough that an empty store is small (about 30 KiB).
const SHARDS: usize = 256;
/// Claims and records in this process's memory: the default, for one process whose restart may
/// forget what was done.
///
/// # Budget
///
/// Memory is bounded in bytes (512 MiB unless set) and in entries (1,000,000 unless set). A claim
/// reserves the room that its record may take, which is the attribute's `max_response` and about
/// a kilobyte; what the record does not use is given back on completion. A store without room
/// refuses the claim **before** the handler runs (503 `store-full`). It never evicts a live claim
/// or an unexpired record, so memory pressure never makes an effect happen twice.
///
/// With the default `max_response` of 1 MiB the default budget lets about 500 handlers run at the
/// same time. A smaller `max_response` lets more.
///
/// There is no budget for each caller: one who sends many keys can fill the store for all, whose new
/// keys are then refused until records expire. (What is recorded is replayed all the same.) Make
/// room for what may be recorded within a `ttl`, at the length of a response and 256 bytes each,
/// and limit rates before the handler.
///
/// Cloning gives another handle on the same store.
///
/// ```
/// use idempotent_runtime::MemoryStore;
///
/// let store = MemoryStore::builder().max_bytes(64 << 20).max_entries(100_000).build();
/// assert_eq!(store.entries(), 0);
/// ```
#[derive(Clone)]
pub struct MemoryStore(Arc<Shared>);

/// Sets the limits and the clock of a [`MemoryStore`].
#[derive(Clone)]
#[must_use]
pub struct MemoryStoreBuilder {
    max_bytes: u64,
    max_entries: usize,
    clock: Arc<dyn Clock>,
}

struct Shared {
    shards: Box<[Mutex<Shard>]>,
    /// Chooses the shard. Keyed at random, as the map's own hasher is, so that nobody can fill
    /// one shard by choosing keys.
    shard_hasher: RandomState,
    budget: Budget,
    clock: Arc<dyn Clock>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::builder().build()
    }
}

impl MemoryStore {
    /// A store with limits of its own.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder {
            max_bytes: 512 * 1024 * 1024,
            max_entries: 1_000_000,
            clock: Arc::new(SystemClock::default()),
        }
    }

    /// How many claims and records the store holds, expired ones that are not yet removed
    /// included.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.0.budget.entries()
    }

    /// How many bytes of the budget are taken or reserved.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.budget.bytes()
    }

    /// Removes expired records, at most `limit`, and gives their number.
    ///
    /// Nobody needs to call this for correctness or to stay in the budget; it gives memory back
    /// while the store is idle.
    #[allow(clippy::must_use_candidate)] // Its number is for who wants to know.
    pub fn sweep(&self, limit: usize) -> usize {
        let now = self.0.clock.now();
        let mut removed = 0;
        for shard in &self.0.shards {
            if removed >= limit {
                break;
            }
            removed += lock(shard).sweep(now, limit - removed, &self.0.budget);
        }
        removed
    }

    /// [`Store::claim`], without a future.
    pub(crate) fn claim_now(&self, claim: &Claim) -> Result<ClaimAnswer, StoreError> {
        let Shared { clock, budget, .. } = &*self.0;
        loop {
            let answer = self.0.shard(&claim.id).claim(claim, &**clock, budget);
            // Expired records of shards that nobody passed by still take room. No request sweeps
            // more of them away than it needs.
            if !matches!(answer, Err(StoreError::Full)) || self.sweep(AT_ONCE) == 0 {
                return answer;
            }
        }
    }

    /// [`Store::complete`], without a future.
    pub(crate) fn complete_now(&self, claim: &Claim, response: StoredResponse) -> Completion {
        let now = self.0.clock.now();
        let mut shard = self.0.shard(&claim.id);
        shard.complete(claim, response, now, &self.0.budget)
    }
}

/// How many expired records a claim removes that finds no room, before it looks again.
const AT_ONCE: usize = 256;

impl MemoryStoreBuilder {
    /// Bounds the memory of claims and records, in bytes.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Bounds the number of claims and records.
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.max_entries = entries;
        self
    }

    /// Takes the time from this clock; tests give a [`ManualClock`](crate::ManualClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The store.
    #[must_use]
    pub fn build(self) -> MemoryStore {
        MemoryStore(Arc::new(Shared {
            shards: std::iter::repeat_with(Mutex::default)
                .take(SHARDS)
                .collect(),
            shard_hasher: RandomState::default(),
            budget: Budget::new(self.max_bytes, self.max_entries),
            clock: self.clock,
        }))
    }
}

impl Store for MemoryStore {
    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, StoreError> {
        self.claim_now(claim)
    }

    async fn complete(
        &self,
        claim: &Claim,
        response: &StoredResponse,
    ) -> Result<Completion, StoreError> {
        Ok(self.complete_now(claim, response.clone()))
    }

    async fn release(&self, claim: &Claim) -> Result<Fence, StoreError> {
        let now = self.0.clock.now();
        let mut shard = self.0.shard(&claim.id);
        Ok(shard.release(claim, now, &self.0.budget))
    }

    async fn renew(&self, claim: &Claim) -> Result<Fence, StoreError> {
        Ok(self.0.shard(&claim.id).renew(claim))
    }

    fn needs_lease(&self) -> bool {
        false
    }

    fn abandon(&self, claim: &Claim) {
        let now = self.0.clock.now();
        let mut shard = self.0.shard(&claim.id);
        shard.abandon(claim, now, &self.0.budget);
    }

    fn as_notify(&self) -> Option<&dyn Notify> {
        Some(self)
    }

    fn as_inspect(&self) -> Option<&dyn Inspect> {
        Some(self)
    }

    fn memory_usage(&self) -> MemoryUsage {
        MemoryUsage {
            bytes: Some(self.bytes()),
            entries: Some(self.entries() as u64),
            ..MemoryUsage::default()
        }
    }
}

impl Notify for MemoryStore {
    fn ended<'a>(&'a self, claim: &'a Claim) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async {
            let Some(bell) = self.0.shard(&claim.id).bell(&claim.id) else {
                return;
            };
            // It hears every ring from here on; one before is seen as another bell, or none.
            let rung = bell.notified();
            let same = self.0.shard(&claim.id).bell(&claim.id);
            if same.is_some_and(|same| Arc::ptr_eq(&same, &bell)) {
                rung.await;
            }
        })
    }
}

impl Shared {
    fn shard(&self, id: &RecordId) -> MutexGuard<'_, Shard> {
        let hash = self.shard_hasher.hash_one(id);
        #[allow(clippy::cast_possible_truncation)] // The remainder is below SHARDS.
        lock(&self.shards[(hash % SHARDS as u64) as usize])
    }
}

/// No verb leaves a shard half-changed when it panics: none can panic.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MemoryStore")
            .field("entries", &self.entries())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MemoryStoreBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MemoryStoreBuilder")
            .field("max_bytes", &self.max_bytes)
            .field("max_entries", &self.max_entries)
            .finish_non_exhaustive()
    }
}
