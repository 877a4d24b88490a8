//! The records that are kept, within a budget of bytes, and the runs whose record may be next.

use std::{
    collections::{BTreeMap, HashMap},
    hash::BuildHasher,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use foldhash::fast::RandomState;

use crate::{
    clock::Timestamp,
    core::{
        fingerprint::Fingerprint,
        protocol::Found,
        record::{Claim, OwnerToken, RecordId},
        response::StoredResponse,
    },
};

const SHARDS: usize = 64;
/// What a record takes beside its response: its place in the map and in the order of arrival, and
/// what is left free in both when they have just grown.
const ENTRY_BYTES: u64 = 448;
/// How many runs a shard takes note of: far more than handlers run at a time. A shard with so
/// many forgets them all, which costs a few round trips.
const MAX_RUNS: usize = 1024;
/// How many records that are not believed any more a new one removes from its shard.
const SWEEP_STEP: usize = 4;
/// What part of a ttl is given away for the difference between two clocks' rates: each may be off
/// by as much as a machine's clock is ever slewed, 500 in a million.
const CLOCK_DRIFT: u32 = 1000;

pub(super) struct Records {
    shards: Box<[Mutex<Shard>]>,
    /// Chooses the shard. Keyed at random, so that nobody can fill one by choosing keys.
    shard_hasher: RandomState,
    max_bytes: u64,
    bytes: AtomicU64,
    /// The shard that gives up a record next. Each has about the same part of all records, so
    /// that the oldest of one after the other are about the oldest of all.
    hand: AtomicUsize,
}

#[derive(Default)]
struct Shard {
    kept: HashMap<RecordId, Kept, RandomState>,
    arrivals: BTreeMap<u64, RecordId>,
    next_arrival: u64,
    /// Claims that were granted here and of whose outcome the store was not yet told.
    runs: HashMap<RecordId, OwnerToken, RandomState>,
}

struct Kept {
    fingerprint: Fingerprint,
    response: StoredResponse,
    arrival: u64,
    /// When the store lets go of it, at the earliest.
    expires: Timestamp,
    believed_until: Timestamp,
}

impl Records {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self {
            shards: std::iter::repeat_with(Mutex::default)
                .take(SHARDS)
                .collect(),
            shard_hasher: RandomState::default(),
            max_bytes,
            bytes: AtomicU64::new(0),
            hand: AtomicUsize::new(0),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What the store would say of a record that is kept.
    pub(super) fn find(&self, id: &RecordId, now: Timestamp) -> Option<Found> {
        let mut shard = self.shard(id);
        let kept = shard.kept.get(id)?;
        if kept.believed_until <= now {
            self.give_back(shard.remove(id));
            return None;
        }
        Some(Found::Done {
            fingerprint: kept.fingerprint,
            response: kept.response.clone(),
            ttl_left: kept.expires.since(now),
        })
    }

    /// Keeps a record that was named done, with `ttl_left`, in answer to a question that was put
    /// at `asked`; unless it is believed no more by now, or larger than all the room there is.
    pub(super) fn keep(
        &self,
        id: RecordId,
        fingerprint: Fingerprint,
        response: StoredResponse,
        asked: Timestamp,
        ttl_left: Duration,
        now: Timestamp,
    ) {
        let mut kept = Kept {
            fingerprint,
            response,
            arrival: 0,
            expires: asked.after(ttl_left),
            believed_until: asked.after(ttl_left.saturating_sub(ttl_left / CLOCK_DRIFT)),
        };
        if kept.believed_until <= now || !self.make_room(kept.bytes()) {
            return;
        }
        let mut shard = self.shard(&id);
        self.give_back(shard.remove(&id));
        shard
            .sweep(now)
            .for_each(|swept| self.give_back(Some(swept)));
        kept.arrival = shard.next_arrival;
        shard.next_arrival += 1;
        shard.arrivals.insert(kept.arrival, id);
        shard.kept.insert(id, kept);
    }

    pub(super) fn remove(&self, id: &RecordId) {
        let removed = self.shard(id).remove(id);
        self.give_back(removed);
    }

    /// Takes note of a claim that was granted.
    pub(super) fn note_run(&self, claim: &Claim) {
        let mut shard = self.shard(&claim.id);
        if shard.runs.len() >= MAX_RUNS {
            shard.runs.clear();
        }
        shard.runs.insert(claim.id, claim.owner);
    }

    /// Forgets a run. Says whether it was noted: whether the store is told of its outcome for
    /// the first time.
    pub(super) fn end_run(&self, claim: &Claim) -> bool {
        let mut shard = self.shard(&claim.id);
        let is_noted = shard.runs.get(&claim.id) == Some(&claim.owner);
        if is_noted {
            shard.runs.remove(&claim.id);
        }
        is_noted
    }

    /// Takes room for a record, by dropping older ones if it must. The budget is not exceeded,
    /// not even for a moment.
    fn make_room(&self, bytes: u64) -> bool {
        if bytes > self.max_bytes {
            return false;
        }
        let relaxed = Ordering::Relaxed;
        let fits = |taken: u64| {
            let sum = taken.checked_add(bytes);
            sum.filter(|sum| *sum <= self.max_bytes)
        };
        while self.bytes.fetch_update(relaxed, relaxed, fits).is_err() {
            let oldest = (0..SHARDS).find_map(|_| {
                let hand = self.hand.fetch_add(1, relaxed) % SHARDS;
                lock(&self.shards[hand]).remove_oldest()
            });
            if oldest.is_none() {
                // Others hold all the room and have not yet put their records in.
                return false;
            }
            self.give_back(oldest);
        }
        true
    }

    fn give_back(&self, removed: Option<Kept>) {
        if let Some(removed) = removed {
            self.bytes.fetch_sub(removed.bytes(), Ordering::Relaxed);
        }
    }

    fn shard(&self, id: &RecordId) -> MutexGuard<'_, Shard> {
        let hash = self.shard_hasher.hash_one(id);
        #[allow(clippy::cast_possible_truncation)] // The remainder is below SHARDS.
        lock(&self.shards[(hash % SHARDS as u64) as usize])
    }
}

impl Shard {
    fn remove(&mut self, id: &RecordId) -> Option<Kept> {
        let removed = self.kept.remove(id)?;
        self.arrivals.remove(&removed.arrival);
        Some(removed)
    }

    fn remove_oldest(&mut self) -> Option<Kept> {
        let (_, id) = self.arrivals.pop_first()?;
        self.kept.remove(&id)
    }

    /// Removes the oldest records, as long as they are not believed any more.
    fn sweep(&mut self, now: Timestamp) -> impl Iterator<Item = Kept> {
        let mut left = SWEEP_STEP;
        std::iter::from_fn(move || {
            let (_, oldest) = self.arrivals.first_key_value()?;
            let is_over = self.kept.get(oldest)?.believed_until <= now;
            left = left.checked_sub(1)?;
            is_over.then(|| self.remove_oldest()).flatten()
        })
    }
}

impl Kept {
    fn bytes(&self) -> u64 {
        ENTRY_BYTES + self.response.as_bytes().len() as u64
    }
}

/// No step leaves a shard half-changed when it panics: none can panic.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
