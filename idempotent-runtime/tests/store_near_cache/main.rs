//! The near cache: it answers as the store behind it would, without asking it, and only for what
//! is final.
#![cfg(all(feature = "near-cache", feature = "memory", feature = "store-contract"))]
#![allow(clippy::unwrap_used, clippy::unchecked_time_subtraction)]

mod answers;
mod budget;
mod equivalence;

use std::{
    any::Any,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use idempotent_runtime::{
    Claim, Fingerprint, Key, ManualClock, MemoryStore, NearCache, OwnerToken, RecordId, Scope,
    Store, StoredResponse,
    store::{
        ClaimAnswer, Completion, Fence, Found, Notify, StoreError, Transactional,
        contract::{Harness, check},
    },
};

const TTL: Duration = Duration::from_secs(1000);

const SECOND: Duration = Duration::from_secs(1);

/// What a cache gives away for the difference of two clocks.
const MARGIN: Duration = Duration::from_secs(1);

const LARGE: u64 = 64 << 20;

/// A store that counts what it is asked, and takes its time.
#[derive(Clone)]
struct Asked {
    memory: MemoryStore,
    clock: ManualClock,
    times: Arc<AtomicUsize>,
    /// How long an answer to `claim` and `complete` takes.
    late: Arc<Mutex<Duration>>,
    /// How many completions are carried out and not answered.
    unanswered: Arc<AtomicUsize>,
}

impl Asked {
    fn new() -> Self {
        let clock = ManualClock::default();
        Self {
            memory: MemoryStore::builder().clock(clock.clone()).build(),
            clock,
            times: Arc::default(),
            late: Arc::default(),
            unanswered: Arc::default(),
        }
    }

    fn cached(&self, max_bytes: u64) -> NearCache<Self> {
        NearCache::with_clock(self.clone(), max_bytes, self.clock.clone())
    }

    fn times(&self) -> usize {
        self.times.load(Ordering::SeqCst)
    }

    fn is_asked(&self) {
        self.times.fetch_add(1, Ordering::SeqCst);
    }

    fn answer_takes(&self, late: Duration) {
        *self.late.lock().unwrap() = late;
    }

    fn answer_late(&self) {
        self.clock.advance(*self.late.lock().unwrap());
    }
}

impl Store for Asked {
    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, StoreError> {
        self.is_asked();
        let answer = self.memory.claim(claim).await;
        self.answer_late();
        answer
    }

    async fn complete(
        &self,
        claim: &Claim,
        response: &StoredResponse,
    ) -> Result<Completion, StoreError> {
        self.is_asked();
        let answer = self.memory.complete(claim, response).await;
        self.answer_late();
        let less = |left: usize| left.checked_sub(1);
        let relaxed = Ordering::Relaxed;
        if self.unanswered.fetch_update(relaxed, relaxed, less).is_ok() {
            return Err(StoreError::unavailable("the answer was lost"));
        }
        answer
    }

    async fn release(&self, claim: &Claim) -> Result<Fence, StoreError> {
        self.is_asked();
        self.memory.release(claim).await
    }

    async fn renew(&self, claim: &Claim) -> Result<Fence, StoreError> {
        self.is_asked();
        self.memory.renew(claim).await
    }

    fn needs_lease(&self) -> bool {
        self.memory.needs_lease()
    }

    fn abandon(&self, claim: &Claim) {
        self.memory.abandon(claim);
    }

    fn as_notify(&self) -> Option<&dyn Notify> {
        self.memory.as_notify()
    }

    fn as_transactional(&self) -> Option<&dyn Transactional> {
        Some(self)
    }
}

/// A transaction that is committed as soon as it is written; `&mut false` rolls it back.
impl Transactional for Asked {
    fn complete_in<'a>(
        &'a self,
        connection: &'a mut (dyn Any + Send),
        claim: &'a Claim,
        response: &'a StoredResponse,
    ) -> Pin<Box<dyn Future<Output = Result<Completion, StoreError>> + Send + 'a>> {
        Box::pin(async move {
            self.is_asked();
            let Some(commits) = connection.downcast_ref::<bool>() else {
                return Err(StoreError::Unsupported);
            };
            if !commits {
                return Ok(Completion::Stored);
            }
            self.memory.complete(claim, response).await
        })
    }
}

fn id(key: &str) -> RecordId {
    let key = Key::from_value(key).unwrap();
    RecordId::new("", &["POST /"], &Scope::global(), &key)
}

fn claim_of(key: &str, owner: u128) -> Claim {
    let mut claim = Claim::new(
        id(key),
        OwnerToken::new(owner),
        Fingerprint::from_bytes([7; 32]),
    );
    claim.ttl = TTL;
    claim.max_response = 1000;
    claim
}

fn with(mut claim: Claim, change: impl FnOnce(&mut Claim)) -> Claim {
    change(&mut claim);
    claim
}

fn response(body: &[u8]) -> StoredResponse {
    StoredResponse::new(201, &[("location", b"/payments/1")], body)
}

fn done(body: &[u8], ttl_left: Duration) -> ClaimAnswer {
    ClaimAnswer::Found(Found::Done {
        fingerprint: Fingerprint::from_bytes([7; 32]),
        response: response(body),
        ttl_left,
    })
}

async fn run(store: &impl Store, claim: &Claim, body: &[u8]) {
    assert_eq!(store.claim(claim).await.unwrap(), ClaimAnswer::Claimed);
    let completion = store.complete(claim, &response(body)).await.unwrap();
    assert_eq!(completion, Completion::Stored);
}

struct Cached(ManualClock);

impl Harness for Cached {
    type Store = NearCache<MemoryStore>;

    async fn store(&self) -> Self::Store {
        let memory = MemoryStore::builder().clock(self.0.clone()).build();
        NearCache::with_clock(memory, LARGE, self.0.clone())
    }

    async fn advance(&self, duration: Duration) {
        self.0.advance(duration);
    }

    async fn store_with_room_for(&self, claims: usize) -> Option<Self::Store> {
        let memory = MemoryStore::builder().clock(self.0.clone());
        let memory = memory.max_entries(claims).build();
        Some(NearCache::with_clock(memory, LARGE, self.0.clone()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract() {
    check(&Cached(ManualClock::default())).await;
}

/// So small that next to nothing is kept.
struct Crowded(Cached);

impl Harness for Crowded {
    type Store = NearCache<MemoryStore>;

    async fn store(&self) -> Self::Store {
        let memory = MemoryStore::builder().clock(self.0.0.clone()).build();
        NearCache::with_clock(memory, 1000, self.0.0.clone())
    }

    async fn advance(&self, duration: Duration) {
        self.0.advance(duration).await;
    }

    async fn store_with_room_for(&self, claims: usize) -> Option<Self::Store> {
        self.0.store_with_room_for(claims).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract_with_next_to_no_room() {
    check(&Crowded(Cached(ManualClock::default()))).await;
}

#[test]
fn debug_shows_no_record() {
    let store = NearCache::new(MemoryStore::default(), LARGE);
    let shown = format!("{store:?}");
    assert!(
        shown.starts_with("NearCache { store: MemoryStore"),
        "{shown}"
    );
}
