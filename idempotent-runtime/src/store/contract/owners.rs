//! Whose claim it is.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use tokio::task::JoinSet;

use super::{
    Harness, assert_done, assert_running, claim, claimed, complete, found_done, fresh, release,
    renew, response, rival,
};
use crate::{
    core::{fingerprint::Fingerprint, protocol::Found, record::Claim},
    store::{ClaimAnswer, Completion, Fence, Store},
};

pub(super) async fn check<H: Harness>(harness: &H) {
    a_claim_is_granted_once(&harness.store().await).await;
    of_many_claims_one_is_granted(harness.store().await).await;
    a_repeated_verb_answers_as_the_first_did(&harness.store().await).await;
    a_stale_owner_changes_nothing(&harness.store().await).await;
    a_release_frees_the_id(&harness.store().await).await;
    a_dropped_claim_happened_or_did_not(&harness.store().await).await;
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
        Completion::Fenced(found) => assert_done(&found, &owner, &stored),
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
