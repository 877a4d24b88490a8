//! What is answered without asking, and what is asked for.

use std::{sync::atomic::Ordering, time::Duration};

use idempotent_runtime::{
    Fingerprint, MemoryStore, NearCache, OnLost, Store, StoredResponse,
    store::{ClaimAnswer, Completion, Fence, Found, StoreError, Transactional},
};

use crate::{Asked, LARGE, MARGIN, SECOND, TTL, claim_of, done, id, response, run, with};

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
