//! §2 and §9: what every store promises, checked on the memory store: by the public suite, by
//! comparison with a model, and under threads.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use idempotent_runtime::{
    Claim, Fingerprint, Key, ManualClock, MemoryStore, OnLost, OwnerToken, RecordId, Scope, Store,
    StoredResponse,
    store::{
        ClaimAnswer, Completion, Fence, Found, StoreError,
        contract::{Harness, check},
    },
};
use idempotent_tests::Steered;
use proptest::prelude::*;

struct Memory(ManualClock);

impl Harness for Memory {
    type Store = MemoryStore;

    async fn store(&self) -> MemoryStore {
        MemoryStore::builder().clock(self.0.clone()).build()
    }

    async fn advance(&self, duration: Duration) {
        self.0.advance(duration);
    }

    async fn store_with_room_for(&self, claims: usize) -> Option<MemoryStore> {
        let builder = MemoryStore::builder().clock(self.0.clone());
        Some(builder.max_entries(claims).build())
    }
}

#[tokio::test]
async fn sec9_a_full_store_does_not_forget_what_was_lost() {
    let store = MemoryStore::builder().max_bytes(2_600).build();
    let claim_of = |key: &str, owner| {
        let key = Key::from_value(key).unwrap();
        let id = RecordId::new("", &["POST /"], &Scope::global(), &key);
        let mut claim = Claim::new(id, OwnerToken::new(owner), Fingerprint::NONE);
        claim.on_lost = OnLost::Refuse;
        claim.max_response = 1_000;
        claim
    };
    let lost = claim_of("lost", 1);
    store.claim(&lost).await.unwrap();
    store.abandon(&lost);
    let other = claim_of("other", 2);
    store.claim(&other).await.unwrap();
    let mut successor = claim_of("lost", 3);
    successor.takes_over = true;
    for _ in 0..2 {
        let refused = store.claim(&successor).await;
        assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
        let found = store.claim(&claim_of("lost", 4)).await.unwrap();
        assert!(
            matches!(found, ClaimAnswer::Found(Found::Lost { .. })),
            "{found:?}"
        );
    }
    store.release(&other).await.unwrap();
    let granted = store.claim(&successor).await.unwrap();
    assert_eq!(granted, ClaimAnswer::Claimed);
    store.release(&successor).await.unwrap();
    assert_eq!((store.entries(), store.bytes()), (0, 0));
}

/// The faults of the other tests are none while nobody asks for them.
struct Faultless(Memory);

impl Harness for Faultless {
    type Store = Steered;

    async fn store(&self) -> Steered {
        Steered::new(self.0.store().await)
    }

    async fn advance(&self, duration: Duration) {
        self.0.advance(duration).await;
    }

    async fn store_with_room_for(&self, claims: usize) -> Option<Steered> {
        self.0.store_with_room_for(claims).await.map(Steered::new)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec9_the_memory_store_keeps_the_contract() {
    check(&Memory(ManualClock::default())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sec9_the_memory_store_keeps_the_contract_under_threads() {
    check(&Memory(ManualClock::default())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec9_the_store_of_these_tests_keeps_the_contract() {
    check(&Faultless(Memory(ManualClock::default()))).await;
}

/// A step of a story about a few ids and whoever claims them. Claims are named by when they were
/// made, so that stale owners come back.
#[derive(Clone, Debug)]
enum Step {
    Claim { id: u8, other: bool, refuse: bool },
    Again { claim: usize },
    Complete { claim: usize, size: usize },
    Release { claim: usize },
    Renew { claim: usize },
    Abandon { claim: usize },
    Advance { millis: u64 },
    Sweep { limit: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let claim = || 0usize..12;
    prop_oneof![
        5 => (0u8..3, prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(id, other, refuse)| Step::Claim { id, other, refuse }),
        1 => claim().prop_map(|claim| Step::Again { claim }),
        4 => (claim(), 0usize..40).prop_map(|(claim, size)| Step::Complete { claim, size }),
        2 => claim().prop_map(|claim| Step::Release { claim }),
        2 => claim().prop_map(|claim| Step::Renew { claim }),
        2 => claim().prop_map(|claim| Step::Abandon { claim }),
        3 => (0u64..1500).prop_map(|millis| Step::Advance { millis }),
        1 => (0usize..3).prop_map(|limit| Step::Sweep { limit }),
    ]
}

const TTL: Duration = Duration::from_secs(1);

fn claim(id: u8, owner: usize, other: bool, refuse: bool) -> Claim {
    let key = Key::from_value(&format!("{id}")).unwrap();
    let id = RecordId::new("", &["POST /"], &Scope::global(), &key);
    let fingerprint = Fingerprint::from_bytes([u8::from(other); 32]);
    let mut claim = Claim::new(id, OwnerToken::new(owner as u128), fingerprint);
    claim.ttl = TTL;
    claim.lease = Duration::from_millis(100);
    claim.max_response = 1000;
    claim.on_lost = if refuse {
        OnLost::Refuse
    } else {
        OnLost::Rerun
    };
    claim
}

/// What is under an id, as the protocol has it.
#[derive(Clone, Debug)]
struct Slot {
    owner: OwnerToken,
    fingerprint: Fingerprint,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Running,
    Done {
        until: u64,
        response: StoredResponse,
    },
    Lost {
        until: u64,
    },
}

impl Slot {
    fn found(&self, now: u64) -> Found {
        let fingerprint = self.fingerprint;
        match &self.state {
            State::Running => Found::Running {
                fingerprint,
                lease_left: None,
            },
            State::Done { response, until } => Found::Done {
                fingerprint,
                response: response.clone(),
                ttl_left: Duration::from_millis(until - now),
            },
            State::Lost { .. } => Found::Lost { fingerprint },
        }
    }

    fn runs_for(&self, claim: &Claim) -> bool {
        self.owner == claim.owner && matches!(self.state, State::Running)
    }
}

struct Model {
    now: u64,
    slots: HashMap<RecordId, Slot>,
    room: usize,
}

impl Model {
    fn forget_expired(&mut self) {
        let now = self.now;
        self.slots.retain(|_, slot| match slot.state {
            State::Running => true,
            State::Done { until, .. } | State::Lost { until } => now < until,
        });
    }

    /// `None` when the store is full.
    fn claim(&mut self, claim: &Claim) -> Option<ClaimAnswer> {
        match self.slots.get(&claim.id) {
            Some(slot) if slot.runs_for(claim) => Some(ClaimAnswer::Claimed),
            Some(slot) => Some(ClaimAnswer::Found(slot.found(self.now))),
            None if self.slots.len() >= self.room => None,
            None => {
                let slot = Slot {
                    owner: claim.owner,
                    fingerprint: claim.fingerprint,
                    state: State::Running,
                };
                self.slots.insert(claim.id, slot);
                Some(ClaimAnswer::Claimed)
            }
        }
    }

    fn complete(&mut self, claim: &Claim, response: &StoredResponse) -> Completion {
        let state = State::Done {
            until: self.now + 1000,
            response: response.clone(),
        };
        match self.slots.get_mut(&claim.id) {
            Some(slot) if slot.runs_for(claim) => slot.state = state,
            Some(slot) if slot.owner == claim.owner => {}
            Some(slot) => return Completion::Fenced(slot.found(self.now)),
            None => {
                let slot = Slot {
                    owner: claim.owner,
                    fingerprint: claim.fingerprint,
                    state,
                };
                self.slots.insert(claim.id, slot);
            }
        }
        Completion::Stored
    }

    fn release(&mut self, claim: &Claim) -> Fence {
        match self.slots.get(&claim.id) {
            Some(slot) if slot.runs_for(claim) => {
                self.slots.remove(&claim.id);
                Fence::Passed
            }
            Some(_) => Fence::Fenced,
            None => Fence::Passed,
        }
    }

    fn renew(&self, claim: &Claim) -> Fence {
        match self.slots.get(&claim.id) {
            Some(slot) if slot.runs_for(claim) => Fence::Passed,
            _ => Fence::Fenced,
        }
    }

    fn abandon(&mut self, claim: &Claim) {
        let now = self.now;
        let Some(slot) = self.slots.get_mut(&claim.id) else {
            return;
        };
        if !slot.runs_for(claim) {
            return;
        }
        match claim.on_lost {
            OnLost::Refuse => slot.state = State::Lost { until: now + 1000 },
            OnLost::Rerun => {
                self.slots.remove(&claim.id);
            }
        }
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    future
        .now_or_never()
        .expect("the memory store answers at once")
}

/// Tells the story to the store and to the model.
fn tell(steps: &[Step], room: usize) -> Result<(), TestCaseError> {
    let clock = ManualClock::default();
    let store = MemoryStore::builder()
        .clock(clock.clone())
        .max_entries(room)
        .build();
    let mut model = Model {
        now: 0,
        slots: HashMap::new(),
        room,
    };
    let mut claims: Vec<Claim> = Vec::new();
    // Whose run is over never speaks up again, but for a completion whose answer was lost.
    let mut over: Vec<OwnerToken> = Vec::new();
    for step in steps {
        model.forget_expired();
        let named = |index: &usize| claims.get(*index).copied();
        match step {
            Step::Claim { id, other, refuse } => {
                let claim = claim(*id, claims.len(), *other, *refuse);
                claims.push(claim);
                compare_claims(&store, &mut model, &claim)?;
            }
            Step::Again { claim } => {
                if let Some(claim) = named(claim).filter(|claim| !over.contains(&claim.owner)) {
                    compare_claims(&store, &mut model, &claim)?;
                }
            }
            Step::Complete { claim, size } => {
                let Some(claim) = named(claim).filter(|claim| !over.contains(&claim.owner)) else {
                    continue;
                };
                let response = StoredResponse::new(201, &[], &vec![b'x'; *size]);
                let expected = model.complete(&claim, &response);
                let completion = now(store.complete(&claim, &response)).unwrap();
                prop_assert_eq!(&completion, &expected);
                // The same again, as when the answer was lost; with another response to see
                // that the first stays.
                let again = StoredResponse::new(500, &[], b"again");
                let repeated = now(store.complete(&claim, &again)).unwrap();
                prop_assert_eq!(&repeated, &expected);
                over.push(claim.owner);
            }
            Step::Release { claim } => {
                let Some(claim) = named(claim) else { continue };
                let expected = model.release(&claim);
                prop_assert_eq!(now(store.release(&claim)).unwrap(), expected);
                over.push(claim.owner);
            }
            Step::Renew { claim } => {
                let Some(claim) = named(claim) else { continue };
                prop_assert_eq!(now(store.renew(&claim)).unwrap(), model.renew(&claim));
            }
            Step::Abandon { claim } => {
                let Some(claim) = named(claim) else { continue };
                model.abandon(&claim);
                store.abandon(&claim);
                over.push(claim.owner);
            }
            Step::Advance { millis } => {
                clock.advance(Duration::from_millis(*millis));
                model.now += millis;
            }
            Step::Sweep { limit } => {
                let before = store.entries();
                let removed = store.sweep(*limit);
                prop_assert!(removed <= *limit);
                prop_assert_eq!(store.entries(), before - removed);
            }
        }
        // Never two that hold one id.
        for id in 0..3 {
            let id = claim(id, 0, false, false).id;
            let live = claims.iter().filter(|claim| {
                claim.id == id && now(store.renew(claim)).unwrap() == Fence::Passed
            });
            prop_assert!(live.count() <= 1);
        }
        model.forget_expired();
        prop_assert!(store.entries() >= model.slots.len());
    }
    // What is left when all time has passed is what runs.
    clock.advance(TTL);
    model.now += 1000;
    model.forget_expired();
    store.sweep(usize::MAX);
    prop_assert_eq!(store.entries(), model.slots.len());
    for claim in &claims {
        now(store.release(claim)).unwrap();
    }
    prop_assert_eq!((store.entries(), store.bytes()), (0, 0));
    Ok(())
}

fn compare_claims(
    store: &MemoryStore,
    model: &mut Model,
    claim: &Claim,
) -> Result<(), TestCaseError> {
    match (now(store.claim(claim)), model.claim(claim)) {
        (Ok(answer), Some(expected)) => prop_assert_eq!(answer, expected),
        (Err(StoreError::Full), None) => {}
        (answer, expected) => prop_assert!(false, "{answer:?} is not {expected:?}"),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sec2_any_story_ends_as_the_protocol_has_it(steps in prop::collection::vec(step(), 1..60)) {
        tell(&steps, 1000)?;
    }

    #[test]
    fn sec9_any_story_of_a_store_with_little_room_ends_as_the_protocol_has_it(
        steps in prop::collection::vec(step(), 1..60),
        room in 0usize..3,
    ) {
        tell(&steps, room)?;
    }
}

#[test]
fn sec2_at_most_one_owner_lives_under_threads() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 5000;
    let clock = ManualClock::default();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let live: Arc<[AtomicUsize; 3]> = Arc::default();
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (store, clock, live) = (store.clone(), clock.clone(), Arc::clone(&live));
            std::thread::spawn(move || {
                for round in 0..ROUNDS {
                    let id = u8::try_from(round % 3).unwrap();
                    let claim = claim(id, round * THREADS + thread, false, false);
                    if now(store.claim(&claim)).unwrap() != ClaimAnswer::Claimed {
                        continue;
                    }
                    let live = &live[usize::from(id)];
                    assert_eq!(
                        live.fetch_add(1, Ordering::SeqCst),
                        0,
                        "one owner at a time"
                    );
                    std::thread::yield_now();
                    assert_eq!(live.fetch_sub(1, Ordering::SeqCst), 1);
                    match round % 4 {
                        0 => {
                            let response = StoredResponse::new(201, &[], b"done");
                            assert_eq!(
                                now(store.complete(&claim, &response)).unwrap(),
                                Completion::Stored
                            );
                            clock.advance(TTL);
                        }
                        1 => store.abandon(&claim),
                        _ => assert_eq!(now(store.release(&claim)).unwrap(), Fence::Passed),
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    clock.advance(TTL);
    store.sweep(usize::MAX);
    assert_eq!((store.entries(), store.bytes()), (0, 0));
}

#[test]
fn sec9_the_memory_store_needs_no_lease() {
    let store = MemoryStore::default();
    assert!(!store.needs_lease());
    assert!(store.as_notify().is_some());
}
