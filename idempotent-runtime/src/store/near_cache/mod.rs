//! Finished records of another store, in this process's memory.
//!
//! What is done stays done until its ttl ends, so a copy of it is as good as a question. What is
//! not done may be another thing at any moment, so of that there is no copy.

mod records;

use std::{any::Any, fmt, future::Future, pin::Pin, sync::Arc};

use self::records::Records;
use super::{
    ClaimAnswer, Completion, Fence, Forget, Forgotten, Found, Inspect, Inspection, Listing,
    MemoryUsage, Notify, Page, Store, StoreError, Transactional,
};
use crate::{
    clock::{Clock, SystemClock, Timestamp},
    core::{
        record::{Claim, RecordId},
        response::StoredResponse,
    },
};

/// Any store, with its finished records kept in this process's memory too, so that a replay needs
/// no round trip.
///
/// ```
/// # #[cfg(feature = "memory")] use idempotent_runtime::MemoryStore;
/// use idempotent_runtime::{Claim, Fingerprint, Key, NearCache, OwnerToken, RecordId, Scope, Store,
///     StoredResponse, store::{ClaimAnswer, Found}};
///
/// # #[cfg(not(feature = "memory"))] fn main() {}
/// # #[cfg(feature = "memory")]
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let shared = MemoryStore::default();
/// // `shared` is the store that all processes have in common.
/// let store = NearCache::new(shared, 64 << 20);
///
/// let id = RecordId::new("shop", &["POST /payments"], &Scope::global(), &Key::from_value("k")?);
/// let claim = Claim::new(id, OwnerToken::new(1), Fingerprint::NONE);
/// store.claim(&claim).await?;
/// store.complete(&claim, &StoredResponse::new(201, &[], b"paid")).await?;
/// // From here on the answer comes from this process's memory.
/// let answer = store.claim(&claim).await?;
/// assert!(matches!(answer, ClaimAnswer::Found(Found::Done { .. })));
/// # Ok(()) }
/// ```
///
/// # What is kept
///
/// Records, once they are final: those that this process has completed, and those that the store
/// has named done. Never a claim, running or lost: what another process does to one is seen by
/// the next question, as without the cache.
///
/// A record is believed for a little less than the store keeps it: counted from before the store
/// was asked, by this process's monotonic clock, and a thousandth less, because the clocks of two
/// machines do not run at quite the same rate. From then on the store is asked. The clock does
/// not count the time for which a machine is suspended.
///
/// A record that somebody deletes from the store by hand is replayed by each process that keeps
/// it, until its ttl ends or [`invalidate`](Self::invalidate) is called there. So is one that
/// [`Inspect::forget`] has removed in another process; in this one it is gone from the cache too,
/// unless a request for it was on its way: then forget it again.
///
/// # Memory
///
/// At most `max_bytes`, of records and the bookkeeping for them, about 450 bytes each. The record
/// that came first goes first; to drop one is safe, because the store has it. Beside that, about
/// 100 bytes for each handler that runs.
///
/// # Sealed records
///
/// `NearCache<Encrypted<S>>` keeps opened responses in memory and is the faster one.
/// `Encrypted<NearCache<S>>` keeps them sealed, and opens one for every replay.
///
/// Cloning gives another handle on the same cache and store. A call that is dropped before it
/// answers leaves the cache as it was.
pub struct NearCache<S>(Arc<Shared<S>>);

struct Shared<S> {
    store: S,
    records: Records,
    clock: Arc<dyn Clock>,
}

impl<S: Store> NearCache<S> {
    /// Keeps at most `max_bytes` of this store's finished records in memory.
    ///
    /// A record that is larger by itself is not kept; with 0 none is.
    pub fn new(store: S, max_bytes: u64) -> Self {
        Self::with_clock(store, max_bytes, SystemClock::default())
    }

    /// Takes the time from this clock; tests give a [`ManualClock`](crate::ManualClock).
    ///
    /// It need not show the same time as the store's clock, only run as fast.
    pub fn with_clock(store: S, max_bytes: u64, clock: impl Clock) -> Self {
        Self(Arc::new(Shared {
            store,
            records: Records::new(max_bytes),
            clock: Arc::new(clock),
        }))
    }

    /// The store behind the cache.
    ///
    /// What is completed there by itself, and not through the cache, is found by asking.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.0.store
    }

    /// How many bytes of memory the kept records take, those included that are not believed any
    /// more and not yet removed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.records.bytes()
    }

    /// Forgets the record, in this process; the next request asks the store.
    ///
    /// For a record that was deleted from the store by hand: delete it there first. A request
    /// that was already asking the store may bring back what it finds.
    pub fn invalidate(&self, id: &RecordId) {
        self.0.records.remove(id);
    }
}

impl<S> Shared<S> {
    /// Keeps what was found, if it is final.
    fn keep(&self, claim: &Claim, found: &Found, asked: Timestamp) {
        if let Found::Done {
            fingerprint,
            response,
            ttl_left,
        } = found
            && let Some(response) = unshared(response)
        {
            let now = self.clock.now();
            self.records
                .keep(claim.id, *fingerprint, response, asked, *ttl_left, now);
        }
    }
}

/// A copy that shares no memory: what a driver has read may be a small part of a large buffer,
/// which must not outlive the budget's account of it.
fn unshared(response: &StoredResponse) -> Option<StoredResponse> {
    let copy = response.as_bytes().to_vec();
    // What was decoded once is decoded again.
    StoredResponse::decode(copy.into()).ok()
}

impl<S: Store> Store for NearCache<S> {
    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, StoreError> {
        let Shared { store, records, .. } = &*self.0;
        let asked = self.0.clock.now();
        let found = records.find(&claim.id, asked);
        #[cfg(feature = "metrics")]
        crate::metrics::near_cache_lookup(found.is_some());
        if let Some(found) = found {
            return Ok(ClaimAnswer::Found(found));
        }
        let answer = store.claim(claim).await?;
        match &answer {
            ClaimAnswer::Claimed => records.note_run(claim),
            ClaimAnswer::Found(found) => self.0.keep(claim, found, asked),
        }
        Ok(answer)
    }

    async fn complete(
        &self,
        claim: &Claim,
        response: &StoredResponse,
    ) -> Result<Completion, StoreError> {
        let Shared { store, records, .. } = &*self.0;
        // `Stored` is also the answer to a repetition, for a record that began to live earlier
        // and may hold another response. Only of a first attempt is it known what the store has.
        let is_first = records.end_run(claim);
        let asked = self.0.clock.now();
        let completion = store.complete(claim, response).await?;
        match &completion {
            Completion::Stored if is_first => {
                let (response, now) = (response.clone(), self.0.clock.now());
                records.keep(claim.id, claim.fingerprint, response, asked, claim.ttl, now);
            }
            Completion::Stored => {}
            Completion::Fenced(found) => self.0.keep(claim, found, asked),
        }
        Ok(completion)
    }

    async fn release(&self, claim: &Claim) -> Result<Fence, StoreError> {
        self.0.records.end_run(claim);
        self.0.store.release(claim).await
    }

    async fn renew(&self, claim: &Claim) -> Result<Fence, StoreError> {
        self.0.store.renew(claim).await
    }

    fn needs_lease(&self) -> bool {
        self.0.store.needs_lease()
    }

    fn abandon(&self, claim: &Claim) {
        self.0.records.end_run(claim);
        self.0.store.abandon(claim);
    }

    fn as_notify(&self) -> Option<&dyn Notify> {
        self.0.store.as_notify()
    }

    fn as_transactional(&self) -> Option<&dyn Transactional> {
        self.0.store.as_transactional().map(|_| self as _)
    }

    fn as_inspect(&self) -> Option<&dyn Inspect> {
        self.0.store.as_inspect().map(|_| self as _)
    }

    fn memory_usage(&self) -> MemoryUsage {
        MemoryUsage {
            near_cache_bytes: Some(self.bytes()),
            ..self.0.store.memory_usage()
        }
    }
}

impl<S: Store> Transactional for NearCache<S> {
    /// Keeps nothing: the transaction may be rolled back.
    fn complete_in<'a>(
        &'a self,
        connection: &'a mut (dyn Any + Send),
        claim: &'a Claim,
        response: &'a StoredResponse,
    ) -> Pin<Box<dyn Future<Output = Result<Completion, StoreError>> + Send + 'a>> {
        let Some(transactional) = self.0.store.as_transactional() else {
            return Box::pin(async { Err(StoreError::Unsupported) });
        };
        self.0.records.end_run(claim);
        transactional.complete_in(connection, claim, response)
    }
}

impl<S: Store> Inspect for NearCache<S> {
    /// What the store has, and not what is kept of it here.
    fn inspect<'a>(
        &'a self,
        id: &'a RecordId,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Inspection>, StoreError>> + Send + 'a>> {
        match self.0.store.as_inspect() {
            Some(store) => store.inspect(id),
            None => Box::pin(async { Err(StoreError::Unsupported) }),
        }
    }

    fn forget<'a>(
        &'a self,
        id: &'a RecordId,
        forget: Forget,
    ) -> Pin<Box<dyn Future<Output = Result<Forgotten, StoreError>> + Send + 'a>> {
        Box::pin(async move {
            let store = self.0.store.as_inspect().ok_or(StoreError::Unsupported)?;
            // Also where the answer is lost or not waited for: it may have been carried out.
            let _invalidated = Invalidating { cache: self, id };
            store.forget(id, forget).await
        })
    }

    fn list<'a>(
        &'a self,
        listing: &'a Listing,
    ) -> Pin<Box<dyn Future<Output = Result<Page, StoreError>> + Send + 'a>> {
        match self.0.store.as_inspect() {
            Some(store) => store.list(listing),
            None => Box::pin(async { Err(StoreError::Unsupported) }),
        }
    }
}

/// Forgets a record when it is dropped.
struct Invalidating<'a, S: Store> {
    cache: &'a NearCache<S>,
    id: &'a RecordId,
}

impl<S: Store> Drop for Invalidating<'_, S> {
    fn drop(&mut self) {
        self.cache.invalidate(self.id);
    }
}

impl<S> Clone for NearCache<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: fmt::Debug> fmt::Debug for NearCache<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("NearCache")
            .field("store", &self.0.store)
            .field("bytes", &self.0.records.bytes())
            .finish_non_exhaustive()
    }
}
