//! The sealing store: what is kept tells nothing, what was changed does not open, and keys can be
//! replaced.
#![cfg(all(feature = "encrypt", feature = "memory", feature = "store-contract"))]
#![allow(clippy::unwrap_used)]

mod keys;
mod transactions;
#[cfg(feature = "near-cache")]
mod with_a_near_cache;

use std::{error::Error, time::Duration};

use idempotent_runtime::{
    Claim, Encrypted, Fingerprint, Key, ManualClock, MemoryStore, OwnerToken, RecordId, Scope,
    SealingKey, Store, StoredResponse,
    store::{
        ClaimAnswer, Completion, Found, StoreError,
        contract::{Harness, check},
    },
};
use proptest::prelude::*;

const SECRETS: [&[u8]; 4] = [
    b"hush-body",
    b"hush-header",
    b"hush-location",
    b"x-hush-name",
];

fn key(byte: u8) -> SealingKey {
    SealingKey::new([byte; 32])
}

fn claim_of(name: &str, owner: u128) -> Claim {
    let key = Key::from_value(name).unwrap();
    let id = RecordId::new("", &["POST /"], &Scope::global(), &key);
    Claim::new(id, OwnerToken::new(owner), Fingerprint::from_bytes([7; 32]))
}

fn with(mut claim: Claim, change: impl FnOnce(&mut Claim)) -> Claim {
    change(&mut claim);
    claim
}

fn secret() -> StoredResponse {
    let headers: [(&str, &[u8]); 2] = [
        ("location", b"/hush-location"),
        ("x-hush-name", b"hush-header"),
    ];
    StoredResponse::new(299, &headers, b"hush-body")
}

/// What a store is found to hold under the id.
async fn held(store: &impl Store, claim: &Claim) -> Result<Found, StoreError> {
    let asking = with(*claim, |claim| claim.owner = OwnerToken::new(u128::MAX));
    match store.claim(&asking).await? {
        ClaimAnswer::Found(found) => Ok(found),
        ClaimAnswer::Claimed => panic!("nothing is held"),
    }
}

async fn held_response(store: &impl Store, claim: &Claim) -> StoredResponse {
    match held(store, claim).await.unwrap() {
        Found::Done { response, .. } => response,
        other => panic!("a record is held, not {other:?}"),
    }
}

/// Puts these bytes into the store as they are.
async fn plant(store: &impl Store, claim: &Claim, response: &StoredResponse) {
    let completion = store.complete(claim, response).await.unwrap();
    assert_eq!(completion, Completion::Stored);
}

#[track_caller]
fn assert_unreadable<T: std::fmt::Debug>(answer: Result<T, StoreError>, says: &str) {
    let Err(error @ StoreError::Unreadable(_)) = answer else {
        panic!("unreadable, not {answer:?}");
    };
    let told = format!("{error}: {}", error.source().unwrap());
    assert!(told.contains(says), "`{told}` says `{says}`");
    let all = format!("{told} {error:?}");
    for secret in SECRETS {
        assert!(!all.contains(std::str::from_utf8(secret).unwrap()), "{all}");
    }
}

struct Sealed(ManualClock);

impl Harness for Sealed {
    type Store = Encrypted<MemoryStore>;

    async fn store(&self) -> Self::Store {
        let memory = MemoryStore::builder().clock(self.0.clone()).build();
        Encrypted::new(memory, key(1))
    }

    async fn advance(&self, duration: Duration) {
        self.0.advance(duration);
    }

    async fn store_with_room_for(&self, claims: usize) -> Option<Self::Store> {
        let memory = MemoryStore::builder().clock(self.0.clone());
        Some(Encrypted::new(memory.max_entries(claims).build(), key(1)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract() {
    check(&Sealed(ManualClock::default())).await;
}

#[tokio::test]
async fn nothing_of_a_response_is_in_the_store() {
    let store = Encrypted::new(MemoryStore::default(), key(1));
    let tombstone = StoredResponse::tombstone(299, &[("location", b"/hush-location")]);
    for (name, response) in [("full", secret()), ("tombstone", tombstone)] {
        let first = claim_of(name, 1);
        store.claim(&first).await.unwrap();
        plant(&store, &first, &response).await;
        let held = held_response(store.inner(), &first).await;
        let bytes = held.as_bytes();
        for secret in SECRETS {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret));
        }
        assert!(held.is_sealed());
        assert_ne!(held.status(), 299);
        assert!(!held.is_tombstone());
        assert_eq!(held.headers().count(), 0);
        assert_eq!(bytes.len(), response.as_bytes().len() + 57);
        assert_eq!(held_response(&store, &first).await, response);
    }
    // The same response twice shows no likeness but its length.
    let [one, two] = [claim_of("one", 1), claim_of("two", 1)];
    plant(&store, &one, &secret()).await;
    plant(&store, &two, &secret()).await;
    let [one, two] = [
        held_response(store.inner(), &one).await,
        held_response(store.inner(), &two).await,
    ];
    let alike = std::iter::zip(&one.as_bytes()[17..], &two.as_bytes()[17..])
        .filter(|(left, right)| left == right)
        .count();
    assert!(alike < 20, "{alike} of {} bytes", one.as_bytes().len());
}

#[tokio::test]
async fn a_record_that_was_changed_does_not_open() {
    let memory = MemoryStore::default();
    let store = Encrypted::new(memory.clone(), key(1)).open_with(key(2));
    let first = claim_of("k", 1);
    plant(&store, &first, &secret()).await;
    let held = held_response(&memory, &first).await;
    let bytes = held.as_bytes();
    let mut opened = 0;
    for at in 0..bytes.len() {
        for bit in [0x01, 0x02, 0x80] {
            let mut changed = bytes.to_vec();
            changed[at] ^= bit;
            // What no store can read is not even given to us.
            let Ok(changed) = StoredResponse::decode(changed.into()) else {
                continue;
            };
            opened += 1;
            let forged = MemoryStore::default();
            plant(&forged, &first, &changed).await;
            let store = Encrypted::new(forged, key(1)).open_with(key(2));
            assert_unreadable(self::held(&store, &first).await, "the ");
        }
    }
    assert!(opened > bytes.len() * 2, "{opened}");
    for length in 0..bytes.len() {
        let Ok(cut) = StoredResponse::decode(bytes.slice(..length)) else {
            continue;
        };
        let forged = MemoryStore::default();
        plant(&forged, &first, &cut).await;
        let store = Encrypted::new(forged, key(1));
        assert_unreadable(self::held(&store, &first).await, "the ");
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    let forged = MemoryStore::default();
    plant(
        &forged,
        &first,
        &StoredResponse::decode(longer.into()).unwrap(),
    )
    .await;
    let store = Encrypted::new(forged, key(1));
    assert_unreadable(self::held(&store, &first).await, "was changed");
}

#[tokio::test]
async fn a_record_opens_only_in_its_own_place() {
    let memory = MemoryStore::default();
    let store = Encrypted::new(memory.clone(), key(1));
    let first = claim_of("k", 1);
    plant(&store, &first, &secret()).await;
    let held = held_response(&memory, &first).await;

    let elsewhere = claim_of("l", 1);
    plant(&memory, &elsewhere, &held).await;
    assert_unreadable(
        self::held(&store, &elsewhere).await,
        "belongs to another id",
    );

    let forged = MemoryStore::default();
    let other_request = with(first, |claim| {
        claim.fingerprint = Fingerprint::from_bytes([8; 32]);
    });
    plant(&forged, &other_request, &held).await;
    let forged = Encrypted::new(forged, key(1));
    assert_unreadable(self::held(&forged, &first).await, "belongs to another id");
    // In its own place it opens for whoever asks, whatever for: that is decided later.
    let found = self::held(&store, &other_request).await.unwrap();
    assert!(matches!(found, Found::Done { fingerprint, .. } if fingerprint == first.fingerprint));
}

#[tokio::test]
async fn a_late_run_is_told_the_opened_response_or_that_it_cannot_be_read() {
    let memory = MemoryStore::default();
    let store = Encrypted::new(memory.clone(), key(1));
    plant(&store, &claim_of("k", 1), &secret()).await;
    let late = claim_of("k", 2);
    let other = StoredResponse::new(200, &[], b"late");
    match store.complete(&late, &other).await.unwrap() {
        Completion::Fenced(Found::Done { response, .. }) => assert_eq!(response, secret()),
        told => panic!("{told:?}"),
    }
    let store = Encrypted::new(memory, key(2));
    assert_unreadable(store.complete(&late, &other).await, "was not given");
}

/// The memory store reserves what a record may take. One that takes all of it must fit.
#[tokio::test]
async fn a_claim_reserves_what_sealing_adds() {
    let claim = with(claim_of("k", 1), |claim| claim.max_response = 1000);
    let plain = MemoryStore::default();
    plain.claim(&claim).await.unwrap();
    let sealed = plain.bytes() + 57;
    for (max_bytes, fits) in [(sealed, true), (sealed - 1, false)] {
        let memory = MemoryStore::builder().max_bytes(max_bytes).build();
        let store = Encrypted::new(memory, key(1));
        let answer = store.claim(&claim).await;
        match answer {
            Ok(ClaimAnswer::Claimed) => assert!(fits),
            Err(StoreError::Full) => assert!(!fits),
            answer => panic!("{answer:?}"),
        }
        assert_eq!(store.inner().bytes(), if fits { sealed } else { 0 });
    }
    // All the room there is.
    let endless = with(claim_of("k", 1), |claim| claim.max_response = u64::MAX);
    let store = Encrypted::new(MemoryStore::default(), key(1));
    assert!(matches!(store.claim(&endless).await, Err(StoreError::Full)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_sealed_is_opened(
        status in 100u16..=999,
        headers in prop::collection::vec(("x-[a-z]{1,9}", prop::collection::vec(any::<u8>(), 0..20)), 0..5),
        body in prop::collection::vec(any::<u8>(), 0..300),
        sealing in any::<[u8; 32]>(),
        id in any::<[u8; 32]>(),
        fingerprint in any::<[u8; 32]>(),
    ) {
        let fields: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let response = StoredResponse::new(status, &fields, &body);
        let claim = Claim::new(
            RecordId::from_bytes(id),
            OwnerToken::new(1),
            Fingerprint::from_bytes(fingerprint),
        );
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = Encrypted::new(MemoryStore::default(), SealingKey::new(sealing));
            plant(&store, &claim, &response).await;
            prop_assert_eq!(held_response(&store, &claim).await, response);
            Ok(())
        })?;
    }

    /// Whatever is in the place of a record, it is no response that anybody is sent.
    #[test]
    fn what_was_made_up_does_not_open(payload in prop::collection::vec(any::<u8>(), 0..120), own_head in any::<bool>()) {
        let mut payload = payload;
        if own_head {
            let mut head = vec![1];
            head.extend_from_slice(key(1).id().as_bytes());
            payload = [head, payload].concat();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let memory = MemoryStore::default();
            let first = claim_of("k", 1);
            plant(&memory, &first, &StoredResponse::sealed(&payload)).await;
            let store = Encrypted::new(memory, key(1)).accept_plain();
            assert_unreadable(held(&store, &first).await, "the ");
        });
    }
}
