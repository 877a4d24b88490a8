//! What the power to be looked at promises.

use std::{collections::HashSet, sync::Arc, time::Duration};

use super::{
    FINGERPRINT, Harness, LEASE, TTL, brief, claim, claimed, complete, ended, fresh, release,
    renew, response, rival,
};
use crate::{
    clock::Timestamp,
    core::{
        policy::OnLost,
        record::{Claim, RecordId},
    },
    store::{
        Completion, Fence, Forget, Forgotten, Found, Inspect, Inspection, Listing, RecordState,
        Store, Which,
    },
};

/// How far a time may be off that a store computes from others.
const ABOUT: Duration = Duration::from_millis(100);

pub(super) async fn check<H: Harness>(harness: &H) {
    let store = harness.store().await;
    if store.as_inspect().is_none() {
        return;
    }
    nothing_is_there(&store).await;
    a_claim_is_seen_and_not_forgotten_unless_told_to(&store).await;
    a_record_is_seen_and_forgotten(&store).await;
    who_waits_for_a_forgotten_claim_is_woken(harness.store().await).await;
    a_lost_claim_is_seen_listed_and_taken_over(harness).await;
}

fn power(store: &impl Store) -> &dyn Inspect {
    store.as_inspect().expect("asked only of stores that can")
}

async fn inspect(store: &impl Store, id: &RecordId) -> Option<Inspection> {
    let inspected = power(store).inspect(id).await;
    inspected.expect("an answer to `inspect`")
}

async fn forget(store: &impl Store, id: &RecordId, forget: Forget) -> Forgotten {
    let forgotten = power(store).forget(id, forget).await;
    forgotten.expect("an answer to `forget`")
}

/// The ids that are listed, on all pages.
async fn listed(store: &impl Store, which: Which) -> HashSet<RecordId> {
    let mut ids = HashSet::new();
    let mut after = None;
    for _ in 0..100_000 {
        let listing = Listing {
            which,
            after,
            limit: 2,
        };
        let page = power(store).list(&listing).await;
        let page = page.expect("an answer to `list`");
        assert!(
            page.claims.iter().all(|claim| which.has(claim)),
            "only what was asked for is listed: {page:?}"
        );
        ids.extend(page.claims.iter().map(|claim| claim.id));
        after = page.next;
        if after.is_none() {
            return ids;
        }
    }
    panic!("a listing comes to its end");
}

#[track_caller]
fn assert_about(one: Timestamp, other: Timestamp) {
    let difference = one.since(other).max(other.since(one));
    assert!(
        difference <= ABOUT,
        "about the same time: {one:?}, {other:?}"
    );
}

async fn nothing_is_there(store: &impl Store) {
    let id = fresh().id;
    assert_eq!(inspect(store, &id).await, None);
    for how in [Forget::Lost, Forget::EvenDone, Forget::EvenRunning] {
        assert_eq!(forget(store, &id, how).await, Forgotten::Absent);
    }
    let released = fresh();
    claimed(store, &released).await;
    assert_eq!(release(store, &released).await, Fence::Passed);
    assert_eq!(inspect(store, &released.id).await, None);
}

async fn a_claim_is_seen_and_not_forgotten_unless_told_to(store: &impl Store) {
    let owner = fresh();
    claimed(store, &owner).await;
    let seen = inspect(store, &owner.id).await.expect("a claim is seen");
    assert_eq!((seen.id, seen.fingerprint), (owner.id, FINGERPRINT));
    assert!(matches!(seen.attempts, None | Some(1)), "{seen:?}");
    let RecordState::Running { lease_ends } = seen.state else {
        panic!("a claim runs: {seen:?}");
    };
    assert_eq!(lease_ends.is_some(), store.needs_lease());
    if let Some(ends) = lease_ends {
        assert!(
            ends > seen.now && ends.since(seen.now) <= owner.lease,
            "{seen:?}"
        );
    }
    if let Some(at) = seen.claimed_at {
        assert!(at <= seen.now, "{seen:?}");
        let running = listed(store, Which::RunningFor(Duration::ZERO)).await;
        assert!(running.contains(&owner.id), "a running claim is listed");
        let long = Which::RunningFor(Duration::from_hours(1));
        assert!(!listed(store, long).await.contains(&owner.id));
    }
    assert!(!listed(store, Which::Lost).await.contains(&owner.id));

    for how in [Forget::Lost, Forget::EvenDone] {
        assert_eq!(forget(store, &owner.id, how).await, Forgotten::Running);
    }
    assert_eq!(renew(store, &owner).await, Fence::Passed);
    let told = forget(store, &owner.id, Forget::EvenRunning).await;
    assert_eq!(told, Forgotten::Removed);
    assert_eq!(inspect(store, &owner.id).await, None);
    assert_eq!(renew(store, &owner).await, Fence::Fenced);
    // A second run begins beside the first, and the first one is fenced.
    claimed(store, &rival(&owner)).await;
    let late = complete(store, &owner, &response("late")).await;
    assert!(
        matches!(late, Completion::Fenced(Found::Running { .. })),
        "{late:?}"
    );
    // Or nobody has come: then its outcome is the outcome.
    let alone = fresh();
    claimed(store, &alone).await;
    forget(store, &alone.id, Forget::EvenRunning).await;
    let stored = complete(store, &alone, &response("late")).await;
    assert_eq!(stored, Completion::Stored);
}

async fn a_record_is_seen_and_forgotten(store: &impl Store) {
    for how in [Forget::EvenDone, Forget::EvenRunning] {
        let owner = fresh();
        claimed(store, &owner).await;
        let stored = response("seen");
        assert_eq!(complete(store, &owner, &stored).await, Completion::Stored);
        let seen = inspect(store, &owner.id).await.expect("a record is seen");
        assert_eq!((seen.id, seen.fingerprint), (owner.id, FINGERPRINT));
        assert!(matches!(seen.attempts, None | Some(1)), "{seen:?}");
        let RecordState::Done {
            completed_at,
            expires_at,
            response,
        } = &seen.state
        else {
            panic!("a record is done: {seen:?}");
        };
        assert_eq!(*response, stored);
        assert!(
            *expires_at > seen.now && expires_at.since(seen.now) <= owner.ttl,
            "{seen:?}"
        );
        if let Some(completed) = completed_at {
            assert!(*completed <= seen.now, "{seen:?}");
            assert_about(completed.after(owner.ttl), *expires_at);
            assert!(
                seen.claimed_at
                    .is_none_or(|at| at <= completed.after(ABOUT))
            );
        }
        for which in [Which::Lost, Which::RunningFor(Duration::ZERO)] {
            assert!(!listed(store, which).await.contains(&owner.id));
        }
        // Whoever has seen it lost does not forget the outcome that came since.
        let kept = forget(store, &owner.id, Forget::Lost).await;
        assert_eq!(kept, Forgotten::Done);
        // A store that tells a time by what is left until then may be a moment off.
        let again = inspect(store, &owner.id).await.map(|it| it.state);
        let Some(RecordState::Done {
            expires_at: still,
            response: kept,
            ..
        }) = again
        else {
            panic!("it stays: {again:?}");
        };
        assert_about(still, *expires_at);
        assert_eq!(kept, *response);
        assert_eq!(forget(store, &owner.id, how).await, Forgotten::Removed);
        assert_eq!(inspect(store, &owner.id).await, None);
        claimed(store, &rival(&owner)).await;
    }
}

async fn who_waits_for_a_forgotten_claim_is_woken(store: impl Store) {
    if store.as_notify().is_none() {
        return;
    }
    let store = Arc::new(store);
    let owner = fresh();
    claimed(&*store, &owner).await;
    let waiting = tokio::spawn({
        let (store, waiting) = (Arc::clone(&store), rival(&owner));
        async move { ended(&*store, &waiting).await }
    });
    tokio::task::yield_now().await;
    forget(&*store, &owner.id, Forget::EvenRunning).await;
    waiting.await.expect("the waiter is woken");
}

async fn a_lost_claim_is_seen_listed_and_taken_over<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let refuse = || Claim {
        on_lost: OnLost::Refuse,
        ..brief()
    };
    let [lost, taken, other] = [refuse(), refuse(), refuse()];
    let short = Claim {
        ttl: LEASE / 2,
        ..brief()
    };
    let renewed = brief();
    for one in [&lost, &taken, &other, &short, &renewed] {
        claimed(&store, one).await;
    }
    let granted = inspect(&store, &renewed.id).await.expect("a claim is seen");
    complete(&store, &short, &response("short")).await;
    harness.advance(LEASE / 2).await;
    assert_eq!(renew(&store, &renewed).await, Fence::Passed);
    for one in [&lost, &taken, &other] {
        store.abandon(one);
    }
    harness.advance(LEASE * 3 / 4).await;

    // What has expired is absent.
    assert_eq!(inspect(&store, &short.id).await, None);
    assert_eq!(
        forget(&store, &short.id, Forget::EvenDone).await,
        Forgotten::Absent
    );
    // A claim was granted when it was granted, however often it was renewed.
    let seen = inspect(&store, &renewed.id).await.expect("a claim is seen");
    if let Some((before, now)) = granted.claimed_at.zip(seen.claimed_at) {
        assert_about(before, now);
        let running = Which::RunningFor(LEASE);
        assert!(listed(&store, running).await.contains(&renewed.id));
    }

    let seen = inspect(&store, &lost.id)
        .await
        .expect("a lost claim is seen");
    let RecordState::Lost { since, expires_at } = seen.state else {
        panic!("a claim is lost: {seen:?}");
    };
    assert!(since <= seen.now && expires_at > seen.now, "{seen:?}");
    assert_about(since.after(TTL), expires_at);
    assert!(seen.claimed_at.is_none_or(|at| at <= since), "{seen:?}");
    assert_eq!(seen.fingerprint, FINGERPRINT);
    let all = listed(&store, Which::Lost).await;
    assert!(
        [&lost, &taken, &other]
            .iter()
            .all(|one| all.contains(&one.id))
    );
    assert!(!all.contains(&renewed.id) && !all.contains(&short.id));
    let running = listed(&store, Which::RunningFor(Duration::ZERO)).await;
    assert!(!running.contains(&lost.id), "a lost claim does not run");

    let successor = Claim {
        takes_over: true,
        ..rival(&taken)
    };
    claimed(&store, &successor).await;
    let again = inspect(&store, &taken.id).await.expect("a claim is seen");
    assert!(
        matches!(again.state, RecordState::Running { .. }),
        "{again:?}"
    );
    let attempts = seen.attempts.map(|attempts| attempts + 1);
    assert_eq!(again.attempts, attempts, "the second attempt is counted");
    assert_eq!(
        forget(&store, &taken.id, Forget::Lost).await,
        Forgotten::Running
    );
    complete(&store, &successor, &response("taken over")).await;
    let done = inspect(&store, &taken.id).await.expect("a record is seen");
    assert_eq!(done.attempts, attempts.filter(|_| done.attempts.is_some()));

    assert_eq!(
        forget(&store, &lost.id, Forget::Lost).await,
        Forgotten::Removed
    );
    assert_eq!(inspect(&store, &lost.id).await, None);
    assert!(!listed(&store, Which::Lost).await.contains(&lost.id));
    claimed(&store, &rival(&lost)).await;
    // The lost one comes to its end all the same, and is fenced.
    let late = complete(&store, &lost, &response("late")).await;
    assert!(matches!(late, Completion::Fenced(_)), "{late:?}");
    let _ = claim(&store, &rival(&other)).await;
}
