//! The suite that every [`Store`] must pass (feature `store-contract`).
//!
//! A store's author gives a [`Harness`] and calls [`check`] in a test:
//!
//! ```
//! use std::time::Duration;
//! use idempotent_runtime::{ManualClock, MemoryStore, store::contract::{Harness, check}};
//!
//! struct Memory(ManualClock);
//!
//! impl Harness for Memory {
//!     type Store = MemoryStore;
//!
//!     async fn store(&self) -> MemoryStore {
//!         MemoryStore::builder().clock(self.0.clone()).build()
//!     }
//!
//!     async fn advance(&self, duration: Duration) {
//!         self.0.advance(duration);
//!     }
//!
//!     async fn store_with_room_for(&self, claims: usize) -> Option<MemoryStore> {
//!         Some(MemoryStore::builder().clock(self.0.clone()).max_entries(claims).build())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "multi_thread", worker_threads = 2)] async fn main() {
//! check(&Memory(ManualClock::default())).await;
//! # }
//! ```

mod inspect;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::JoinSet,
    time::timeout,
};

use super::{ClaimAnswer, Completion, Fence, Store, StoreError};
use crate::core::{
    fingerprint::Fingerprint,
    key::Key,
    policy::OnLost,
    protocol::Found,
    record::{Claim, OwnerToken, RecordId},
    response::StoredResponse,
    scope::Scope,
};

/// How the suite gets at a store and at its clock.
pub trait Harness {
    /// The store to check.
    type Store: Store;

    /// A store without records. May be the same store each time: no check uses an id that
    /// another one uses.
    fn store(&self) -> impl Future<Output = Self::Store>;

    /// Lets time pass on the store's clock, by waiting if it must.
    fn advance(&self, duration: Duration) -> impl Future<Output = ()>;

    /// A store that has room for so many claims and records and no more; `None` when the store
    /// has no such limit.
    fn store_with_room_for(&self, claims: usize) -> impl Future<Output = Option<Self::Store>>;
}

/// How long an answer that must come may take.
const PATIENCE: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_secs(4);
const LEASE: Duration = Duration::from_secs(2);
const FINGERPRINT: Fingerprint = Fingerprint::from_bytes([7; 32]);

/// Checks every obligation of a [`Store`], and of [`Inspect`](super::Inspect) where it has that
/// power.
///
/// # Panics
///
/// On the first one that does not hold, naming it; and on a runtime with one thread, where races
/// cannot be seen.
pub async fn check<H: Harness>(harness: &H) {
    assert!(
        Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread,
        "the contract is checked on a multi-threaded runtime"
    );
    a_claim_is_granted_once(&harness.store().await).await;
    of_many_claims_one_is_granted(harness.store().await).await;
    a_record_is_given_as_it_was_stored(&harness.store().await).await;
    a_repeated_verb_answers_as_the_first_did(&harness.store().await).await;
    a_stale_owner_changes_nothing(&harness.store().await).await;
    a_release_frees_the_id(&harness.store().await).await;
    an_absent_id_is_recorded_all_the_same(&harness.store().await).await;
    ids_are_apart(&harness.store().await).await;
    a_dropped_claim_happened_or_did_not(&harness.store().await).await;
    waiters_are_woken_and_own_nothing(harness.store().await).await;
    no_wake_is_missed(harness.store().await).await;
    a_record_lives_for_its_ttl(harness).await;
    a_claim_lives_for_its_lease(harness).await;
    an_abandoned_claim_is_lost(harness).await;
    a_full_store_refuses_claims_and_keeps_records(harness).await;
    inspect::check(harness).await;
}

/// A claim of an id that nobody else uses.
fn fresh() -> Claim {
    Claim {
        ttl: TTL,
        lease: LEASE,
        max_response: 1000,
        ..Claim::new(fresh_id(), fresh_owner(), FINGERPRINT)
    }
}

fn fresh_id() -> RecordId {
    let key = Key::from_value(&format!("{:x}", fresh_owner().get())).expect("a key");
    RecordId::new("contract", &["POST /"], &Scope::global(), &key)
}

/// Unique in this process and, by the process's start, among those that share a store.
fn fresh_owner() -> OwnerToken {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    static START: std::sync::OnceLock<u128> = std::sync::OnceLock::new();
    let start = START.get_or_init(|| {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |now| now.as_nanos())
            << 32
    });
    OwnerToken::new(start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed).into()))
}

/// Somebody else's claim of the same id.
fn rival(claim: &Claim) -> Claim {
    Claim {
        owner: fresh_owner(),
        ..*claim
    }
}

fn response(body: &str) -> StoredResponse {
    let headers: [(&str, &[u8]); 3] = [
        ("location", b"/payments/1"),
        ("x-raw", b"\xff\xfe"),
        ("x-raw", b""),
    ];
    StoredResponse::new(201, &headers, body.as_bytes())
}

/// Asks for the claim as somebody else would, and finds the record.
async fn found_done(store: &impl Store, first: &Claim, stored: &StoredResponse) {
    match claim(store, &rival(first)).await {
        ClaimAnswer::Found(found) => assert_done(&found, stored),
        ClaimAnswer::Claimed => panic!("a finished id was granted"),
    }
}

#[track_caller]
fn assert_done(found: &Found, stored: &StoredResponse) {
    assert!(
        matches!(
            found,
            Found::Done { fingerprint, response, ttl_left }
                if *fingerprint == FINGERPRINT && response == stored && *ttl_left <= TTL
        ),
        "the record is found as it was stored, with what is left of its ttl, not {found:?}"
    );
}

async fn claim(store: &impl Store, claim: &Claim) -> ClaimAnswer {
    store.claim(claim).await.expect("an answer to `claim`")
}

async fn claimed(store: &impl Store, wanted: &Claim) {
    let answer = claim(store, wanted).await;
    assert_eq!(answer, ClaimAnswer::Claimed, "the id is free");
}

async fn complete(store: &impl Store, claim: &Claim, response: &StoredResponse) -> Completion {
    let completion = store.complete(claim, response).await;
    completion.expect("an answer to `complete`")
}

async fn release(store: &impl Store, claim: &Claim) -> Fence {
    store.release(claim).await.expect("an answer to `release`")
}

async fn renew(store: &impl Store, claim: &Claim) -> Fence {
    store.renew(claim).await.expect("an answer to `renew`")
}

#[track_caller]
fn assert_running(answer: &ClaimAnswer) {
    assert!(
        matches!(
            answer,
            ClaimAnswer::Found(Found::Running { fingerprint, .. }) if *fingerprint == FINGERPRINT
        ),
        "a running claim is named with its fingerprint, not {answer:?}"
    );
}

async fn a_claim_is_granted_once(store: &impl Store) {
    let first = fresh();
    claimed(store, &first).await;
    for _ in 0..2 {
        // Whatever it asks for, it is told of the claim that is there.
        let other = Claim {
            fingerprint: Fingerprint::from_bytes([8; 32]),
            ..rival(&first)
        };
        assert_running(&claim(store, &other).await);
    }
    assert_eq!(renew(store, &first).await, Fence::Passed);
}

async fn of_many_claims_one_is_granted(store: impl Store) {
    let store = Arc::new(store);
    for _ in 0..20 {
        let first = fresh();
        let mut claims = JoinSet::new();
        for _ in 0..50 {
            let (store, wanted) = (Arc::clone(&store), rival(&first));
            claims.spawn(async move { claim(&*store, &wanted).await });
        }
        let answers = claims.join_all().await;
        let granted = answers
            .iter()
            .filter(|answer| **answer == ClaimAnswer::Claimed)
            .count();
        assert_eq!(granted, 1, "of many claims at once, one is granted");
        for answer in &answers {
            if *answer != ClaimAnswer::Claimed {
                assert_running(answer);
            }
        }
    }
}

async fn a_record_is_given_as_it_was_stored(store: &impl Store) {
    let location: [(&str, &[u8]); 1] = [("location", b"/1")];
    for stored in [
        response("body"),
        StoredResponse::new(204, &[], b""),
        StoredResponse::new(500, &[], &[0, 255, 10, 13, 0]),
        StoredResponse::new(200, &[], &[b'x'; 1000]),
        StoredResponse::tombstone(201, &location),
    ] {
        let first = fresh();
        claimed(store, &first).await;
        assert_eq!(complete(store, &first, &stored).await, Completion::Stored);
        for _ in 0..2 {
            found_done(store, &first, &stored).await;
        }
    }
}

async fn a_repeated_verb_answers_as_the_first_did(store: &impl Store) {
    let first = fresh();
    claimed(store, &first).await;
    claimed(store, &first).await;
    let stored = response("first");
    assert_eq!(complete(store, &first, &stored).await, Completion::Stored);
    let again = complete(store, &first, &response("second")).await;
    assert_eq!(again, Completion::Stored);
    // What was stored first stays.
    found_done(store, &first, &stored).await;

    let second = fresh();
    claimed(store, &second).await;
    assert_eq!(release(store, &second).await, Fence::Passed);
    assert_eq!(release(store, &second).await, Fence::Passed);
}

async fn a_stale_owner_changes_nothing(store: &impl Store) {
    let owner = fresh();
    let stale = rival(&owner);
    claimed(store, &owner).await;
    let refused = complete(store, &stale, &response("stale")).await;
    assert!(
        matches!(refused, Completion::Fenced(Found::Running { .. })),
        "a stale `complete` of a running claim is fenced, not {refused:?}"
    );
    assert_eq!(release(store, &stale).await, Fence::Fenced);
    assert_eq!(renew(store, &stale).await, Fence::Fenced);
    assert_eq!(renew(store, &owner).await, Fence::Passed);

    let stored = response("owner's");
    assert_eq!(complete(store, &owner, &stored).await, Completion::Stored);
    let refused = complete(store, &stale, &response("stale")).await;
    match refused {
        Completion::Fenced(found) => assert_done(&found, &stored),
        Completion::Stored => panic!("a stale `complete` of a record is fenced"),
    }
    assert_eq!(release(store, &stale).await, Fence::Fenced);
    assert_eq!(renew(store, &stale).await, Fence::Fenced);
    // Not even the owner takes back what is done.
    assert_eq!(release(store, &owner).await, Fence::Fenced);
    assert_eq!(renew(store, &owner).await, Fence::Fenced);
    found_done(store, &owner, &stored).await;
}

async fn a_release_frees_the_id(store: &impl Store) {
    let first = fresh();
    claimed(store, &first).await;
    assert_eq!(release(store, &first).await, Fence::Passed);
    let second = rival(&first);
    claimed(store, &second).await;
    // The first owner is stale now.
    assert_eq!(release(store, &first).await, Fence::Fenced);
    assert_eq!(renew(store, &first).await, Fence::Fenced);
    assert_running(&claim(store, &rival(&first)).await);
}

async fn an_absent_id_is_recorded_all_the_same(store: &impl Store) {
    let first = fresh();
    let stored = response("late");
    assert_eq!(complete(store, &first, &stored).await, Completion::Stored);
    found_done(store, &first, &stored).await;
    assert_eq!(renew(store, &fresh()).await, Fence::Fenced);
}

async fn ids_are_apart(store: &impl Store) {
    let claims: Vec<Claim> = (0..100).map(|_| fresh()).collect();
    for one in &claims {
        claimed(store, one).await;
    }
    for (index, one) in claims.iter().enumerate() {
        match index % 3 {
            0 => {
                let stored = response(&index.to_string());
                assert_eq!(complete(store, one, &stored).await, Completion::Stored);
            }
            1 => assert_eq!(release(store, one).await, Fence::Passed),
            _ => {}
        }
    }
    for (index, one) in claims.iter().enumerate() {
        match index % 3 {
            0 => found_done(store, one, &response(&index.to_string())).await,
            1 => claimed(store, &rival(one)).await,
            _ => assert_running(&claim(store, &rival(one)).await),
        }
    }
}

async fn a_dropped_claim_happened_or_did_not(store: &impl Store) {
    for polls in 0..3 {
        let first = fresh();
        {
            let mut asked = pin!(store.claim(&first));
            for _ in 0..polls {
                let poll = poll_fn(|context| Poll::Ready(asked.as_mut().poll(context))).await;
                if poll.is_ready() {
                    break;
                }
            }
        }
        // Entirely: its owner holds it. Not at all: the owner gets it now.
        claimed(store, &first).await;
        assert_running(&claim(store, &rival(&first)).await);
        let stored = response("after a dropped claim");
        assert_eq!(complete(store, &first, &stored).await, Completion::Stored);
    }
}

/// Resolves when the store tells that the claim has ended.
async fn ended(store: &impl Store, claim: &Claim) {
    let notify = store.as_notify().expect("asked only of stores that notify");
    timeout(PATIENCE, notify.ended(claim))
        .await
        .expect("a waiter is woken");
}

async fn waiters_are_woken_and_own_nothing(store: impl Store) {
    let Some(notify) = store.as_notify() else {
        return;
    };
    let first = fresh();
    // Nothing is running.
    ended(&store, &first).await;
    claimed(&store, &first).await;
    {
        // A waiter that gives up.
        let mut gives_up = pin!(notify.ended(&first));
        let poll = poll_fn(|context| Poll::Ready(gives_up.as_mut().poll(context))).await;
        assert!(poll.is_pending(), "a running claim has not ended");
    }
    assert_running(&claim(&store, &rival(&first)).await);
    assert_eq!(renew(&store, &first).await, Fence::Passed);

    let store = Arc::new(store);
    for release_it in [false, true] {
        let first = fresh();
        claimed(&*store, &first).await;
        let mut waiters = JoinSet::new();
        for _ in 0..10 {
            let (store, waiting) = (Arc::clone(&store), rival(&first));
            waiters.spawn(async move { ended(&*store, &waiting).await });
        }
        tokio::task::yield_now().await;
        if release_it {
            assert_eq!(release(&*store, &first).await, Fence::Passed);
        } else {
            complete(&*store, &first, &response("")).await;
        }
        waiters.join_all().await;
    }
}

async fn no_wake_is_missed(store: impl Store) {
    if store.as_notify().is_none() {
        return;
    }
    let store = Arc::new(store);
    for _ in 0..200 {
        let first = fresh();
        claimed(&*store, &first).await;
        let (waiting_store, waiting) = (Arc::clone(&store), rival(&first));
        let waiter = tokio::spawn(async move { ended(&*waiting_store, &waiting).await });
        let (completing_store, completing) = (Arc::clone(&store), first);
        let owner =
            tokio::spawn(
                async move { complete(&*completing_store, &completing, &response("")).await },
            );
        owner.await.expect("the owner completes");
        waiter.await.expect("the waiter is woken");
    }
}

async fn a_record_lives_for_its_ttl<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let first = fresh();
    claimed(&store, &first).await;
    harness.advance(TTL / 4).await;
    assert_eq!(renew(&store, &first).await, Fence::Passed);
    let stored = response("lives");
    assert_eq!(complete(&store, &first, &stored).await, Completion::Stored);
    // Counted from completion.
    harness.advance(TTL * 7 / 8).await;
    // A record lives for its ttl from completion.
    found_done(&store, &first, &stored).await;
    harness.advance(TTL / 4).await;
    let second = rival(&first);
    claimed(&store, &second).await;
    // The first owner's time is long over.
    let refused = complete(&store, &first, &response("late")).await;
    assert!(matches!(refused, Completion::Fenced(_)), "{refused:?}");
    // And what it left behind does not end the second owner's record.
    let stored = response("second");
    assert_eq!(complete(&store, &second, &stored).await, Completion::Stored);
    harness.advance(TTL / 2).await;
    found_done(&store, &first, &stored).await;
}

async fn a_claim_lives_for_its_lease<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let [rerun, renewed] = [fresh(), fresh()];
    let refuse = Claim {
        on_lost: OnLost::Refuse,
        ..fresh()
    };
    for one in [&rerun, &renewed, &refuse] {
        claimed(&store, one).await;
    }
    if !store.needs_lease() {
        harness.advance(LEASE * 10).await;
        for one in [&rerun, &renewed, &refuse] {
            assert_running(&claim(&store, &rival(one)).await);
        }
        return;
    }
    let answer = claim(&store, &rival(&rerun)).await;
    assert!(
        matches!(
            answer,
            ClaimAnswer::Found(Found::Running { lease_left: Some(left), .. }) if left <= LEASE
        ),
        "a running claim tells what is left of its lease, not {answer:?}"
    );
    harness.advance(LEASE * 3 / 4).await;
    assert_eq!(renew(&store, &renewed).await, Fence::Passed);
    harness.advance(LEASE / 2).await;
    assert_running(&claim(&store, &rival(&renewed)).await);
    claimed(&store, &rival(&rerun)).await;
    assert_eq!(renew(&store, &rerun).await, Fence::Fenced);
    let answer = claim(&store, &rival(&refuse)).await;
    assert!(
        matches!(answer, ClaimAnswer::Found(Found::Lost { fingerprint }) if fingerprint == FINGERPRINT),
        "a lost claim with `refuse` is lost, not {answer:?}"
    );
    // A run that was only slow: nobody else ran, so its outcome is the outcome.
    let stored = response("late, and alone");
    assert_eq!(complete(&store, &refuse, &stored).await, Completion::Stored);
    found_done(&store, &refuse, &stored).await;
}

async fn an_abandoned_claim_is_lost<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let rerun = fresh();
    let refuse = Claim {
        on_lost: OnLost::Refuse,
        ..fresh()
    };
    for one in [&rerun, &refuse] {
        claimed(&store, one).await;
        // Somebody else's word counts for nothing.
        store.abandon(&rival(one));
        assert_running(&claim(&store, &rival(one)).await);
        store.abandon(one);
    }
    if store.needs_lease() {
        harness.advance(LEASE).await;
    }
    claimed(&store, &rival(&rerun)).await;
    let lost = ClaimAnswer::Found(Found::Lost {
        fingerprint: FINGERPRINT,
    });
    assert_eq!(claim(&store, &rival(&refuse)).await, lost);

    // Whoever knows what became of it takes it over, alone.
    let successor = Claim {
        takes_over: true,
        ..rival(&refuse)
    };
    claimed(&store, &successor).await;
    let late = Claim {
        takes_over: true,
        ..rival(&refuse)
    };
    assert_running(&claim(&store, &late).await);
    assert_eq!(release(&store, &refuse).await, Fence::Fenced);
    store.abandon(&successor);
    if store.needs_lease() {
        harness.advance(LEASE).await;
    }
    assert_eq!(claim(&store, &rival(&refuse)).await, lost);
    harness.advance(TTL * 2).await;
    claimed(&store, &rival(&refuse)).await;
}

async fn a_full_store_refuses_claims_and_keeps_records<H: Harness>(harness: &H) {
    let Some(store) = harness.store_with_room_for(2).await else {
        return;
    };
    let [running, recorded, third] = [fresh(), fresh(), fresh()];
    claimed(&store, &running).await;
    claimed(&store, &recorded).await;
    let stored = response("kept");
    let answer = complete(&store, &recorded, &stored).await;
    assert_eq!(answer, Completion::Stored);
    for _ in 0..100 {
        let refused = store.claim(&fresh()).await;
        assert!(
            matches!(refused, Err(StoreError::Full)),
            "a full store refuses, and evicts nothing: {refused:?}"
        );
    }
    assert_running(&claim(&store, &rival(&running)).await);
    found_done(&store, &recorded, &stored).await;
    // A claim that was refused has left nothing behind.
    assert_eq!(release(&store, &running).await, Fence::Passed);
    claimed(&store, &third).await;
    // Room comes back when a record's ttl ends.
    harness.advance(TTL * 2).await;
    claimed(&store, &fresh()).await;
}
