//! Keys: read, replaced, and missing.

use idempotent_runtime::{
    Encrypted, ManualClock, MemoryStore, SealingKey, SealingKeyError, Store,
    store::{ClaimAnswer, Fence},
};

use crate::{assert_unreadable, claim_of, held, held_response, key, plant, secret, with};

#[tokio::test]
async fn keys_are_replaced_step_by_step() {
    let memory = MemoryStore::default();
    let keys = |sealing: u8, opening: &[u8]| {
        let store = Encrypted::new(memory.clone(), key(sealing));
        opening
            .iter()
            .fold(store, |store, byte| store.open_with(key(*byte)))
    };
    let [old, new] = [claim_of("old", 1), claim_of("new", 1)];
    plant(&keys(1, &[]), &old, &secret()).await;
    // Some processes already seal under the new key while others still seal under the old one.
    let (before, after) = (keys(1, &[2]), keys(2, &[1]));
    plant(&after, &new, &secret()).await;
    for store in [&before, &after] {
        assert_eq!(held_response(store, &old).await, secret());
        assert_eq!(held_response(store, &new).await, secret());
    }
    // The old key is taken away.
    let last = keys(2, &[]);
    assert_eq!(held_response(&last, &new).await, secret());
    let named = format!("sealed under the key {}, which was not given", key(1).id());
    assert_unreadable(held(&last, &old).await, &named);
    // Nothing was changed by that, and no run was granted.
    assert_eq!(held_response(&before, &old).await, secret());
}

#[tokio::test]
async fn a_plain_record_is_refused_unless_that_is_said() {
    let memory = MemoryStore::default();
    let first = claim_of("k", 1);
    plant(&memory, &first, &secret()).await;
    let strict = Encrypted::new(memory.clone(), key(1));
    assert_unreadable(held(&strict, &first).await, "accept_plain");
    let late = strict.complete(&claim_of("k", 2), &secret()).await;
    assert_unreadable(late, "accept_plain");

    let migrating = Encrypted::new(memory.clone(), key(1)).accept_plain();
    assert_eq!(held_response(&migrating, &first).await, secret());
    // What is new is sealed, and what is sealed must open all the same.
    let second = claim_of("l", 1);
    plant(&migrating, &second, &secret()).await;
    assert!(held_response(&memory, &second).await.is_sealed());
    assert_eq!(held_response(&migrating, &second).await, secret());
    let other = Encrypted::new(memory, key(2)).accept_plain();
    assert_unreadable(held(&other, &second).await, "was not given");
}

#[tokio::test]
async fn an_id_that_cannot_be_read_is_never_granted() {
    let clock = ManualClock::default();
    let memory = MemoryStore::builder().clock(clock.clone()).build();
    let first = claim_of("k", 1);
    plant(&Encrypted::new(memory.clone(), key(1)), &first, &secret()).await;
    let store = Encrypted::new(memory, key(2));
    let again = with(claim_of("k", 2), |claim| claim.takes_over = true);
    for _ in 0..3 {
        assert_unreadable(store.claim(&again).await, "was not given");
        assert_eq!(store.release(&again).await.unwrap(), Fence::Fenced);
    }
    clock.advance(first.ttl);
    assert_eq!(store.claim(&again).await.unwrap(), ClaimAnswer::Claimed);
}

#[test]
fn a_key_is_read_from_64_digits_and_nothing_else() {
    let digits = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";
    let read: SealingKey = digits.parse().unwrap();
    let bytes = std::array::from_fn(|index| u8::try_from(index).unwrap());
    assert_eq!(read.id(), SealingKey::new(bytes).id());
    assert_ne!(read.id(), key(1).id());
    for (text, error) in [
        (String::new(), SealingKeyError::Length { digits: 0 }),
        (
            digits[..63].to_owned(),
            SealingKeyError::Length { digits: 63 },
        ),
        (
            format!("{digits}00"),
            SealingKeyError::Length { digits: 66 },
        ),
        (
            format!("{digits}\n"),
            SealingKeyError::Digit { position: 64 },
        ),
        (
            format!("0x{digits}"),
            SealingKeyError::Digit { position: 1 },
        ),
        (
            digits.replace("0a", "é"),
            SealingKeyError::Digit { position: 20 },
        ),
    ] {
        let told = text.parse::<SealingKey>().unwrap_err();
        assert_eq!(told, error, "{text:?}");
        assert!(!told.to_string().contains("0001"));
    }
}

#[test]
fn debug_shows_no_key() {
    let digits = "5a".repeat(32);
    let key: SealingKey = digits.parse().unwrap();
    let store = Encrypted::new(MemoryStore::default(), key.clone());
    let id = key.id().to_string();
    assert_eq!(id.len(), 16);
    for shown in [
        format!("{key:?}"),
        format!("{store:?}"),
        format!("{store:#?}"),
    ] {
        assert!(shown.contains(&id), "{shown}");
        assert!(
            !shown.contains("5a5a") && !shown.contains("90, 90"),
            "{shown}"
        );
    }
}
