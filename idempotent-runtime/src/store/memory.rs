//! The store in this process's memory.
//!
//! Claims and records live side by side in a sharded map: the step from one to the other is one
//! assignment under one lock. Nothing is ever evicted. Expired records are removed a few at a
//! time, by whoever passes by their shard, so that no request waits for a sweep.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    fmt,
    future::Future,
    hash::BuildHasher,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use foldhash::fast::RandomState;
use tokio::sync::Notify as Bell;

use super::{ClaimAnswer, Completion, Fence, Notify, Store, StoreError};
use crate::{
    clock::{Clock, SystemClock, Timestamp},
    core::{
        fingerprint::Fingerprint,
        policy::OnLost,
        protocol::Found,
        record::{Claim, OwnerToken, RecordId},
        response::StoredResponse,
    },
};

/// Enough that a shard of a million records grows without anybody noticing (4,000 entries are
/// moved in about 0.1 ms), few enough that an empty store is small (about 30 KiB).
const SHARDS: usize = 256;
/// What an entry takes beside its response: its place in the map and in the expiry queue.
const ENTRY_BYTES: u64 = 256;
/// What a claim reserves for the headers of its response.
const HEADER_BYTES: u64 = 1024;
/// How many expired records a claim or a completion removes from the shard it works on. More
/// than one, so that removing keeps ahead of adding.
const SWEEP_STEP: usize = 4;

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

#[derive(Default)]
struct Shard {
    slots: HashMap<RecordId, Slot, RandomState>,
    expiries: BinaryHeap<Reverse<(Timestamp, RecordId)>>,
}

/// What is under an id. The owner of a record is kept so that a completion whose answer was lost
/// can be repeated.
struct Slot {
    owner: OwnerToken,
    fingerprint: Fingerprint,
    state: State,
}

enum State {
    Running {
        reserved: u64,
        /// Made by the first who waits.
        bell: Option<Arc<Bell>>,
    },
    Done {
        expires: Timestamp,
        response: StoredResponse,
    },
    Lost {
        expires: Timestamp,
    },
}

struct Budget {
    max_bytes: u64,
    max_entries: usize,
    bytes: AtomicU64,
    entries: AtomicUsize,
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
        self.0.budget.entries.load(Ordering::Relaxed)
    }

    /// How many bytes of the budget are taken or reserved.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.budget.bytes.load(Ordering::Relaxed)
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
}

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
            budget: Budget {
                max_bytes: self.max_bytes,
                max_entries: self.max_entries,
                bytes: AtomicU64::new(0),
                entries: AtomicUsize::new(0),
            },
            clock: self.clock,
        }))
    }
}

impl Store for MemoryStore {
    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, StoreError> {
        let now = self.0.clock.now();
        let answer = self.0.shard(&claim.id).claim(claim, now, &self.0.budget);
        if let Err(StoreError::Full) = answer {
            // Expired records of shards that nobody passed by still take room.
            self.sweep(usize::MAX);
            return self.0.shard(&claim.id).claim(claim, now, &self.0.budget);
        }
        answer
    }

    async fn complete(
        &self,
        claim: &Claim,
        response: &StoredResponse,
    ) -> Result<Completion, StoreError> {
        let now = self.0.clock.now();
        let mut shard = self.0.shard(&claim.id);
        Ok(shard.complete(claim, response, now, &self.0.budget))
    }

    async fn release(&self, claim: &Claim) -> Result<Fence, StoreError> {
        let now = self.0.clock.now();
        let mut shard = self.0.shard(&claim.id);
        Ok(match shard.slots.get(&claim.id) {
            Some(slot) if slot.is_claimed_by(claim.owner) => {
                shard.end_claim(&claim.id, &self.0.budget);
                Fence::Passed
            }
            Some(slot) if !slot.is_expired(now) => Fence::Fenced,
            // Absent: released before, and the answer was lost.
            _ => Fence::Passed,
        })
    }

    async fn renew(&self, claim: &Claim) -> Result<Fence, StoreError> {
        let shard = self.0.shard(&claim.id);
        Ok(match shard.slots.get(&claim.id) {
            Some(slot) if slot.is_claimed_by(claim.owner) => Fence::Passed,
            _ => Fence::Fenced,
        })
    }

    fn needs_lease(&self) -> bool {
        false
    }

    fn abandon(&self, claim: &Claim) {
        let expires = self.0.clock.now().after(claim.ttl);
        let mut shard = self.0.shard(&claim.id);
        let Some(slot) = shard.slots.get_mut(&claim.id) else {
            return;
        };
        if !slot.is_claimed_by(claim.owner) {
            return;
        }
        match claim.on_lost {
            OnLost::Rerun => shard.end_claim(&claim.id, &self.0.budget),
            OnLost::Refuse => {
                slot.leave_running(State::Lost { expires }, &self.0.budget);
                shard.expiries.push(Reverse((expires, claim.id)));
            }
        }
    }

    fn as_notify(&self) -> Option<&dyn Notify> {
        Some(self)
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

impl Shard {
    fn claim(
        &mut self,
        claim: &Claim,
        now: Timestamp,
        budget: &Budget,
    ) -> Result<ClaimAnswer, StoreError> {
        self.sweep(now, SWEEP_STEP, budget);
        if let Some(slot) = self.slots.get(&claim.id) {
            if slot.is_claimed_by(claim.owner) {
                return Ok(ClaimAnswer::Claimed);
            }
            if !slot.is_expired(now) {
                return Ok(ClaimAnswer::Found(slot.found()));
            }
            self.remove(&claim.id, budget);
        }
        let reserved = claim
            .max_response
            .saturating_add(ENTRY_BYTES + HEADER_BYTES);
        budget.reserve(reserved)?;
        let bell = None;
        self.slots.insert(
            claim.id,
            Slot::new(claim, State::Running { reserved, bell }),
        );
        Ok(ClaimAnswer::Claimed)
    }

    fn complete(
        &mut self,
        claim: &Claim,
        response: &StoredResponse,
        now: Timestamp,
        budget: &Budget,
    ) -> Completion {
        let expires = now.after(claim.ttl);
        let done = State::Done {
            expires,
            response: response.clone(),
        };
        match self.slots.get_mut(&claim.id) {
            Some(slot) if slot.owner == claim.owner => {
                if matches!(slot.state, State::Done { .. }) {
                    return Completion::Stored;
                }
                slot.leave_running(done, budget);
            }
            Some(slot) if !slot.is_expired(now) => return Completion::Fenced(slot.found()),
            _ => {
                self.remove(&claim.id, budget);
                // The effect has happened: its record is kept even if that goes over the budget.
                budget.take(done.bytes());
                self.slots.insert(claim.id, Slot::new(claim, done));
            }
        }
        self.expiries.push(Reverse((expires, claim.id)));
        self.sweep(now, SWEEP_STEP, budget);
        Completion::Stored
    }

    fn end_claim(&mut self, id: &RecordId, budget: &Budget) {
        if let Some(slot) = self.remove(id, budget) {
            slot.ring();
        }
    }

    fn remove(&mut self, id: &RecordId, budget: &Budget) -> Option<Slot> {
        let slot = self.slots.remove(id)?;
        budget.give_back(slot.state.bytes());
        Some(slot)
    }

    fn bell(&mut self, id: &RecordId) -> Option<Arc<Bell>> {
        match &mut self.slots.get_mut(id)?.state {
            State::Running { bell, .. } => Some(Arc::clone(bell.get_or_insert_default())),
            State::Done { .. } | State::Lost { .. } => None,
        }
    }

    fn sweep(&mut self, now: Timestamp, limit: usize, budget: &Budget) -> usize {
        let mut removed = 0;
        while removed < limit
            && let Some(Reverse((expires, id))) = self.expiries.peek().copied()
            && expires <= now
        {
            self.expiries.pop();
            // The id may have been claimed anew since; that slot is not this entry's.
            if self.slots.get(&id).is_some_and(|slot| slot.is_expired(now)) {
                self.remove(&id, budget);
                removed += 1;
            }
        }
        if removed > 0 && self.slots.len() < self.slots.capacity() / 8 {
            self.slots.shrink_to(self.slots.len() * 2);
            self.expiries.shrink_to(self.expiries.len() * 2);
        }
        removed
    }
}

impl Slot {
    fn new(claim: &Claim, state: State) -> Self {
        Self {
            owner: claim.owner,
            fingerprint: claim.fingerprint,
            state,
        }
    }

    fn is_claimed_by(&self, owner: OwnerToken) -> bool {
        self.owner == owner && matches!(self.state, State::Running { .. })
    }

    fn is_expired(&self, now: Timestamp) -> bool {
        match self.state {
            State::Running { .. } => false,
            State::Done { expires, .. } | State::Lost { expires } => expires <= now,
        }
    }

    fn found(&self) -> Found {
        let fingerprint = self.fingerprint;
        match &self.state {
            State::Running { .. } => Found::Running {
                fingerprint,
                lease_left: None,
            },
            State::Done { response, .. } => Found::Done {
                fingerprint,
                response: response.clone(),
            },
            State::Lost { .. } => Found::Lost { fingerprint },
        }
    }

    /// Replaces the claim by what came of it, and wakes those who waited.
    fn leave_running(&mut self, next: State, budget: &Budget) {
        let (before, after) = (self.state.bytes(), next.bytes());
        if after > before {
            budget.bytes.fetch_add(after - before, Ordering::Relaxed);
        } else {
            budget.bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
        self.ring();
        self.state = next;
    }

    fn ring(&self) {
        if let State::Running {
            bell: Some(bell), ..
        } = &self.state
        {
            bell.notify_waiters();
        }
    }
}

impl State {
    /// What the state takes of the budget.
    fn bytes(&self) -> u64 {
        match self {
            Self::Running { reserved, .. } => *reserved,
            Self::Done { response, .. } => ENTRY_BYTES + response.as_bytes().len() as u64,
            Self::Lost { .. } => ENTRY_BYTES,
        }
    }
}

impl Budget {
    /// Takes room for one entry of so many bytes, if there is.
    fn reserve(&self, bytes: u64) -> Result<(), StoreError> {
        let relaxed = Ordering::Relaxed;
        let fits = |taken: u64| {
            taken
                .checked_add(bytes)
                .filter(|sum| *sum <= self.max_bytes)
        };
        let one_more = |taken: usize| (taken < self.max_entries).then_some(taken + 1);
        if self.bytes.fetch_update(relaxed, relaxed, fits).is_err() {
            return Err(StoreError::Full);
        }
        if self
            .entries
            .fetch_update(relaxed, relaxed, one_more)
            .is_err()
        {
            self.bytes.fetch_sub(bytes, relaxed);
            return Err(StoreError::Full);
        }
        Ok(())
    }

    fn take(&self, bytes: u64) {
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: u64) {
        self.entries.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
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
