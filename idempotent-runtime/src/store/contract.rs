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
mod owners;
mod records;
mod time;
mod waiters;

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    time::timeout,
};

use super::{ClaimAnswer, Completion, Fence, Store};
use crate::core::{
    fingerprint::Fingerprint,
    key::Key,
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

/// What a check that lets time pass counts in: it may have to wait for it.
const TTL: Duration = Duration::from_secs(4);
const LEASE: Duration = Duration::from_secs(2);

/// What no check comes to the end of.
const LONG: Duration = Duration::from_mins(1);

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
    owners::check(harness).await;
    records::check(harness).await;
    waiters::check(harness).await;
    time::check(harness).await;
    inspect::check(harness).await;
}

/// A claim of an id that nobody else uses. It outlasts whatever holds a check up.
fn fresh() -> Claim {
    Claim {
        ttl: LONG,
        lease: LONG,
        max_response: 1000,
        ..Claim::new(fresh_id(), fresh_owner(), FINGERPRINT)
    }
}

/// The same, for a check that lets its time pass.
fn brief() -> Claim {
    Claim {
        ttl: TTL,
        lease: LEASE,
        ..fresh()
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
        ClaimAnswer::Found(found) => assert_done(&found, first, stored),
        ClaimAnswer::Claimed => panic!("a finished id was granted"),
    }
}

#[track_caller]
fn assert_done(found: &Found, first: &Claim, stored: &StoredResponse) {
    assert!(
        matches!(
            found,
            Found::Done { fingerprint, response, ttl_left }
                if *fingerprint == FINGERPRINT && response == stored && *ttl_left <= first.ttl
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

/// Resolves when the store tells that the claim has ended.
async fn ended(store: &impl Store, claim: &Claim) {
    let notify = store.as_notify().expect("asked only of stores that notify");
    timeout(PATIENCE, notify.ended(claim))
        .await
        .expect("a waiter is woken");
}
