//! What ends with time.

use super::{
    FINGERPRINT, Harness, LEASE, TTL, assert_running, brief, claim, claimed, complete, found_done,
    release, renew, response, rival,
};
use crate::{
    core::{policy::OnLost, protocol::Found, record::Claim},
    store::{ClaimAnswer, Completion, Fence, Store},
};

pub(super) async fn check<H: Harness>(harness: &H) {
    a_record_lives_for_its_ttl(harness).await;
    a_claim_lives_for_its_lease(harness).await;
    an_abandoned_claim_is_lost(harness).await;
}

async fn a_record_lives_for_its_ttl<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let first = brief();
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
    let [rerun, renewed] = [brief(), brief()];
    let [refuse, nothing] = [brief(), brief()].map(|claim| Claim {
        on_lost: OnLost::Refuse,
        ..claim
    });
    for one in [&rerun, &renewed, &refuse, &nothing] {
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
    // Or it says that nothing has happened.
    assert_eq!(release(&store, &nothing).await, Fence::Passed);
    claimed(&store, &rival(&nothing)).await;
}

async fn an_abandoned_claim_is_lost<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let rerun = brief();
    let refuse = Claim {
        on_lost: OnLost::Refuse,
        ..brief()
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
