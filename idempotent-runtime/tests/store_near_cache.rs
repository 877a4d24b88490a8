//! The near cache: it answers as the store behind it would, without asking it, and only for what
//! is final.

#![cfg(all(feature = "near-cache", feature = "memory", feature = "store-contract"))]
#![allow(clippy::unwrap_used, clippy::unchecked_time_subtraction)]

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
    Claim, Fingerprint, Key, ManualClock, MemoryStore, NearCache, OnLost, OwnerToken, RecordId,
    Scope, Store, StoredResponse,
    store::{
        ClaimAnswer, Completion, Fence, Found, Notify, StoreError, Transactional,
        contract::{Harness, check},
    },
};
use proptest::prelude::*;

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

#[tokio::test]
async fn what_this_process_has_completed_is_answered_without_asking() {
    let asked = Asked::new();
    let store = asked.cached(LARGE);
    let first = claim_of("k", 1);
    run(&store, &first, b"paid").await;
    assert_eq!(asked.times(), 2);
    asked.clock.advance(SECOND);
    // Its own owner, another one, one that asks for something else, one that takes over.
    let other = with(claim_of("k", 2), |claim| {
        claim.fingerprint = Fingerprint::NONE;
    });
    let successor = with(claim_of("k", 3), |claim| claim.takes_over = true);
    for again in [first, claim_of("k", 2), other, successor] {
        let answer = store.claim(&again).await.unwrap();
        assert_eq!(answer, done(b"paid", TTL - SECOND));
        assert_eq!(answer, asked.memory.claim(&again).await.unwrap());
    }
    assert_eq!(asked.times(), 2);
}

#[tokio::test]
async fn what_another_process_has_completed_is_asked_for_once() {
    let asked = Asked::new();
    run(&asked.memory, &claim_of("k", 1), b"paid").await;
    let store = asked.cached(LARGE);
    for _ in 0..3 {
        let answer = store.claim(&claim_of("k", 2)).await.unwrap();
        assert_eq!(answer, done(b"paid", TTL));
    }
    assert_eq!(asked.times(), 1);

    // So is the winner's response that a late run is told.
    run(&asked.memory, &claim_of("l", 1), b"won").await;
    let late = store.complete(&claim_of("l", 2), &response(b"lost")).await;
    assert!(matches!(
        late.unwrap(),
        Completion::Fenced(Found::Done { .. })
    ));
    assert_eq!(asked.times(), 2);
    let answer = store.claim(&claim_of("l", 2)).await.unwrap();
    assert_eq!(answer, done(b"won", TTL));
    assert_eq!(asked.times(), 2);
}

#[tokio::test]
async fn a_tombstone_is_answered_without_asking() {
    let asked = Asked::new();
    let store = asked.cached(LARGE);
    let first = claim_of("k", 1);
    store.claim(&first).await.unwrap();
    let tombstone = StoredResponse::tombstone(201, &[("location", b"/1")]);
    store.complete(&first, &tombstone).await.unwrap();
    let times = asked.times();
    let answer = store.claim(&claim_of("k", 2)).await.unwrap();
    assert!(
        matches!(answer, ClaimAnswer::Found(Found::Done { response, .. }) if response == tombstone)
    );
    assert_eq!(asked.times(), times);
}

#[tokio::test]
async fn nothing_is_answered_beyond_the_ttl() {
    for late in [Duration::ZERO, SECOND * 400] {
        for is_own in [true, false] {
            let asked = Asked::new();
            let store = asked.cached(LARGE);
            let first = claim_of("k", 1);
            if is_own {
                store.claim(&first).await.unwrap();
                asked.answer_takes(late);
                store.complete(&first, &response(b"paid")).await.unwrap();
            } else {
                run(&asked.memory, &first, b"paid").await;
                asked.answer_takes(late);
                store.claim(&claim_of("k", 2)).await.unwrap();
            }
            asked.answer_takes(Duration::ZERO);
            let times = asked.times();

            // The store counts from before its answer came.
            asked.clock.advance(TTL - late - MARGIN - SECOND);
            let answer = store.claim(&claim_of("k", 2)).await.unwrap();
            assert_eq!(answer, done(b"paid", MARGIN + SECOND));
            assert_eq!(asked.times(), times);
            // So close to the end the store itself is asked.
            asked.clock.advance(MARGIN);
            let answer = store.claim(&claim_of("k", 2)).await.unwrap();
            assert_eq!(answer, done(b"paid", SECOND));
            assert_eq!(asked.times(), times + 1);
            asked.clock.advance(SECOND);
            let answer = store.claim(&claim_of("k", 2)).await.unwrap();
            assert_eq!(answer, ClaimAnswer::Claimed);
            assert_eq!(asked.times(), times + 2);
        }
    }
}

#[tokio::test]
async fn an_answer_that_came_after_the_ttl_is_not_kept() {
    let asked = Asked::new();
    let store = asked.cached(LARGE);
    run(&asked.memory, &claim_of("k", 1), b"paid").await;
    asked.answer_takes(TTL);
    store.claim(&claim_of("k", 2)).await.unwrap();
    assert_eq!(store.bytes(), 0);
    let answer = store.claim(&claim_of("k", 3)).await.unwrap();
    assert_eq!(answer, ClaimAnswer::Claimed);
}

#[tokio::test]
async fn claims_are_asked_for_each_time() {
    let asked = Asked::new();
    let [here, elsewhere] = [asked.cached(LARGE), asked.cached(LARGE)];
    let mut times = 0;
    let mut asks = |more: usize| {
        times += more;
        assert_eq!(asked.times(), times, "the store is asked");
    };
    let refuse = |owner| with(claim_of("k", owner), |claim| claim.on_lost = OnLost::Refuse);
    // Running here, seen from there, and released there.
    assert_eq!(here.claim(&refuse(1)).await.unwrap(), ClaimAnswer::Claimed);
    for _ in 0..2 {
        let answer = elsewhere.claim(&refuse(2)).await.unwrap();
        assert!(matches!(answer, ClaimAnswer::Found(Found::Running { .. })));
    }
    asks(3);
    assert_eq!(here.release(&refuse(1)).await.unwrap(), Fence::Passed);
    let answer = elsewhere.claim(&refuse(2)).await.unwrap();
    assert_eq!(answer, ClaimAnswer::Claimed);
    asks(2);
    // Lost there, seen from here, and taken over there.
    elsewhere.abandon(&refuse(2));
    for _ in 0..2 {
        let answer = here.claim(&refuse(3)).await.unwrap();
        assert!(matches!(answer, ClaimAnswer::Found(Found::Lost { .. })));
    }
    asks(2);
    let successor = with(refuse(4), |claim| claim.takes_over = true);
    let answer = elsewhere.claim(&successor).await.unwrap();
    assert_eq!(answer, ClaimAnswer::Claimed);
    let answer = here.claim(&refuse(5)).await.unwrap();
    assert!(matches!(answer, ClaimAnswer::Found(Found::Running { .. })));
    let fenced = here.complete(&refuse(1), &response(b"late")).await.unwrap();
    assert!(matches!(fenced, Completion::Fenced(Found::Running { .. })));
    asks(3);
    elsewhere
        .complete(&successor, &response(b"paid"))
        .await
        .unwrap();
    asks(1);
    let answer = here.claim(&refuse(5)).await.unwrap();
    assert_eq!(answer, done(b"paid", TTL));
    asks(1);
    assert_eq!(here.renew(&refuse(1)).await.unwrap(), Fence::Fenced);
    assert_eq!(here.release(&refuse(1)).await.unwrap(), Fence::Fenced);
    asks(2);
}

/// The store has the first response, and counts its ttl from then.
#[tokio::test]
async fn a_repeated_completion_is_not_taken_for_the_first() {
    let asked = Asked::new();
    let store = asked.cached(LARGE);
    let first = claim_of("k", 1);
    store.claim(&first).await.unwrap();
    asked.unanswered.store(1, Ordering::Relaxed);
    store
        .complete(&first, &response(b"first"))
        .await
        .unwrap_err();
    asked.clock.advance(SECOND * 100);
    let again = store.complete(&first, &response(b"second")).await.unwrap();
    assert_eq!(again, Completion::Stored);
    let left = TTL - SECOND * 100;
    for _ in 0..2 {
        let answer = store.claim(&claim_of("k", 2)).await.unwrap();
        assert_eq!(answer, done(b"first", left));
    }
    assert_eq!(asked.times(), 4);
}

#[tokio::test]
async fn what_is_written_in_a_transaction_is_asked_for() {
    for commits in [true, false] {
        let asked = Asked::new();
        let store = asked.cached(LARGE);
        let transactional = store.as_transactional().unwrap();
        let first = claim_of("k", 1);
        store.claim(&first).await.unwrap();
        let mut connection = commits;
        let written = response(b"in a transaction");
        let completion = transactional.complete_in(&mut connection, &first, &written);
        assert_eq!(completion.await.unwrap(), Completion::Stored);
        assert_eq!(store.bytes(), 0);
        let times = asked.times();
        // Said again, now that nobody knows whether the transaction was committed.
        asked.clock.advance(SECOND);
        let again = store
            .complete(&first, &response(b"after it"))
            .await
            .unwrap();
        assert_eq!(again, Completion::Stored);
        assert_eq!(store.bytes(), 0);
        let answer = store.claim(&claim_of("k", 2)).await;
        let expected = if commits {
            done(b"in a transaction", TTL - SECOND)
        } else {
            done(b"after it", TTL)
        };
        assert_eq!(answer.unwrap(), expected);
        assert_eq!(asked.times(), times + 2);
    }
    let store = Asked::new().cached(LARGE);
    let refused = store
        .complete_in(&mut "no connection", &claim_of("m", 1), &response(b""))
        .await;
    assert!(matches!(refused, Err(StoreError::Unsupported)));
    let without = NearCache::new(MemoryStore::default(), LARGE);
    assert!(without.as_transactional().is_none());
    let refused = without
        .complete_in(&mut true, &claim_of("m", 1), &response(b""))
        .await;
    assert!(matches!(refused, Err(StoreError::Unsupported)));
}

#[tokio::test]
async fn what_is_invalidated_is_asked_for() {
    let asked = Asked::new();
    let store = asked.cached(LARGE);
    run(&store, &claim_of("k", 1), b"paid").await;
    assert!(store.bytes() > 0);
    store.clone().invalidate(&id("k"));
    store.invalidate(&id("another"));
    assert_eq!(store.bytes(), 0);
    store.claim(&claim_of("k", 2)).await.unwrap();
    assert_eq!(asked.times(), 3);
}

#[tokio::test]
async fn the_budget_is_kept_and_the_oldest_records_go_first() {
    const RECORDS: u64 = 10_000;
    let asked = Asked::new();
    let max_bytes = 2_000_000;
    let store = asked.cached(max_bytes);
    for number in 0..RECORDS {
        run(&store, &claim_of(&number.to_string(), 1), &[b'x'; 300]).await;
        assert!(store.bytes() <= max_bytes);
    }
    assert!(store.bytes() > max_bytes - 1000, "the room is used");
    // The newest first, because one that is not found takes the room of another.
    let newest = store.bytes() / (384 + 400) * 3 / 4;
    let mut kept = 0;
    for number in (RECORDS - newest..RECORDS).rev() {
        let times = asked.times();
        let again = claim_of(&number.to_string(), 2);
        assert_eq!(store.claim(&again).await.unwrap(), done(&[b'x'; 300], TTL));
        kept += u64::from(asked.times() == times);
    }
    assert!(
        kept > newest * 9 / 10,
        "{kept} of the newest {newest} are kept"
    );
    let times = asked.times();
    store.claim(&claim_of("0", 2)).await.unwrap();
    assert_eq!(asked.times(), times + 1, "the oldest went");
    // One that is larger than all the room, and one that takes all of it.
    for (size, fits) in [(2_000_001, false), (1_999_500, true)] {
        let first = claim_of(&size.to_string(), 1);
        run(&store, &first, &vec![b'x'; size]).await;
        let times = asked.times();
        store.claim(&claim_of(&size.to_string(), 2)).await.unwrap();
        assert_eq!(asked.times() == times, fits, "{size}");
        assert!(store.bytes() <= max_bytes);
    }
    let none = asked.cached(0);
    run(&none, &claim_of("none", 1), b"").await;
    assert_eq!(none.bytes(), 0);
}

#[tokio::test]
async fn records_that_are_over_make_room() {
    let asked = Asked::new();
    let store = asked.cached(LARGE);
    for round in 0..50 {
        for number in 0..100 {
            let key = format!("{round}-{number}");
            run(&store, &claim_of(&key, 1), &[b'x'; 300]).await;
        }
        asked.clock.advance(TTL);
    }
    assert!(store.bytes() < 300 * 800, "{}", store.bytes());
    // The same key for ever.
    let store = asked.cached(LARGE);
    for _ in 0..1000 {
        run(&store, &claim_of("k", 1), b"paid").await;
        asked.clock.advance(TTL);
    }
    assert!(store.bytes() < 800, "{}", store.bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_budget_is_kept_under_threads() {
    let asked = Asked::new();
    let max_bytes = 20_000;
    let store = asked.cached(max_bytes);
    let tasks = (0..4).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..3000 {
                let key = format!("{}", (number * 7 + task * 13) % 500);
                let claim = claim_of(&key, task * 100_000 + number);
                if store.claim(&claim).await.unwrap() == ClaimAnswer::Claimed {
                    store
                        .complete(&claim, &response(&[b'x'; 300]))
                        .await
                        .unwrap();
                }
                assert!(store.bytes() <= max_bytes);
                if number % 50 == 0 {
                    store.invalidate(&claim.id);
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    for number in 0..500 {
        store.invalidate(&id(&number.to_string()));
    }
    assert_eq!(store.bytes(), 0);
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

/// What somebody does to a store.
#[derive(Clone, Copy, Debug)]
enum Step {
    Claim { takes_over: bool },
    Complete { body: u8 },
    Release,
    Renew,
    Abandon,
    Invalidate,
    Advance { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(|takes_over| Step::Claim { takes_over }),
        4 => any::<u8>().prop_map(|body| Step::Complete { body }),
        1 => Just(Step::Release),
        1 => Just(Step::Renew),
        1 => Just(Step::Abandon),
        1 => Just(Step::Invalidate),
        3 => (0u64..3000).prop_map(|millis| Step::Advance { millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Two processes, each with its cache, on one store answer as the store alone does.
    #[test]
    fn it_answers_as_the_store_alone(
        steps in prop::collection::vec((0u128..6, 0usize..3, step()), 1..120),
        refuse in any::<bool>(),
        max_bytes in prop_oneof![Just(LARGE), Just(1000u64)],
        ttl_millis in 1u64..8000,
    ) {
        let clock = ManualClock::default();
        let memory = || MemoryStore::builder().clock(clock.clone()).build();
        let [alone, shared] = [memory(), memory()];
        let process = || NearCache::with_clock(shared.clone(), max_bytes, clock.clone());
        let processes = [process(), process()];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for (owner, key, step) in steps {
                // What a memory store says of its own expired records depends on whether it has
                // swept them, which it does by chance.
                alone.sweep(usize::MAX);
                shared.sweep(usize::MAX);
                // An owner lives in one process.
                let cached = &processes[usize::from(owner % 2 == 1)];
                let mut claim = claim_of(["a", "b", "c"][key], owner);
                claim.ttl = Duration::from_millis(ttl_millis);
                claim.fingerprint = Fingerprint::from_bytes([u8::try_from(owner).unwrap(); 32]);
                if refuse {
                    claim.on_lost = OnLost::Refuse;
                }
                match step {
                    Step::Claim { takes_over } => {
                        claim.takes_over = takes_over;
                        prop_assert_eq!(
                            cached.claim(&claim).await.unwrap(),
                            alone.claim(&claim).await.unwrap()
                        );
                    }
                    Step::Complete { body } => prop_assert_eq!(
                        cached.complete(&claim, &response(&[body])).await.unwrap(),
                        alone.complete(&claim, &response(&[body])).await.unwrap()
                    ),
                    Step::Release => prop_assert_eq!(
                        cached.release(&claim).await.unwrap(),
                        alone.release(&claim).await.unwrap()
                    ),
                    Step::Renew => prop_assert_eq!(
                        cached.renew(&claim).await.unwrap(),
                        alone.renew(&claim).await.unwrap()
                    ),
                    Step::Abandon => {
                        cached.abandon(&claim);
                        alone.abandon(&claim);
                    }
                    Step::Invalidate => cached.invalidate(&claim.id),
                    Step::Advance { millis } => clock.advance(Duration::from_millis(millis)),
                }
                prop_assert!(cached.bytes() <= max_bytes);
            }
            Ok(())
        })?;
    }
}
