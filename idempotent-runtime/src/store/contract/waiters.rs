//! Those who wait for a claim to end.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use tokio::task::JoinSet;

use super::{
    Harness, assert_running, claim, claimed, complete, ended, fresh, release, renew, response,
    rival,
};
use crate::store::{Fence, Store};

pub(super) async fn check<H: Harness>(harness: &H) {
    waiters_are_woken_and_own_nothing(harness.store().await).await;
    no_wake_is_missed(harness.store().await).await;
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
