//! Several handles, runtimes and connections on one file.

use std::time::{Duration, Instant};

use idempotent_runtime::{
    OnLost, SqliteStore, Store,
    store::{ClaimAnswer, Completion, Fence},
};
use sqlx::Executor;
use tokio::{runtime, task::JoinSet, time::timeout};

use crate::{Folder, body_of, claim_of, opened, raw, recorded, response, unavailable, with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_rivals_through_two_stores_one_is_granted() {
    let folder = Folder::new();
    let stores = [opened(&folder.file()).await, opened(&folder.file()).await];
    for id in 0..30 {
        let mut rivals = JoinSet::new();
        for rival in 0..20 {
            let store = stores[rival % 2].clone();
            rivals.spawn(async move { store.claim(&claim_of(id)).await.unwrap() });
        }
        let answers = rivals.join_all().await;
        let granted = answers.iter().filter(|it| **it == ClaimAnswer::Claimed);
        assert_eq!(granted.count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_hears_of_an_end_through_another_store() {
    let folder = Folder::new();
    let [waiting, owning] = [opened(&folder.file()).await, opened(&folder.file()).await];
    let claim = claim_of(1);
    owning.claim(&claim).await.unwrap();
    let waiter = tokio::spawn(async move {
        waiting.as_notify().unwrap().ended(&claim_of(1)).await;
    });
    owning.complete(&claim, &response("1")).await.unwrap();
    timeout(Duration::from_secs(20), waiter)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_waiter_is_not_woken_while_the_claim_runs() {
    let folder = Folder::new();
    let store = opened(&folder.file()).await;
    let claim = claim_of(1);
    store.claim(&claim).await.unwrap();
    let rival = claim_of(1);
    let ended = store.as_notify().unwrap().ended(&rival);
    assert!(timeout(Duration::from_millis(350), ended).await.is_err());
}

#[test]
fn a_store_outlives_the_runtime_that_opened_it() {
    let folder = Folder::new();
    let runtime = || {
        runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
    };
    let store = runtime().block_on(opened(&folder.file()));
    runtime().block_on(recorded(&store, 1));
    runtime().block_on(async {
        assert_eq!(body_of(&store, 1).await, Some(response("1")));
    });
}

#[test]
fn what_was_asked_is_written_though_nobody_waits() {
    let folder = Folder::new();
    let file = folder.file();
    let runtime = || {
        runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
    };
    let claim = claim_of(1);
    {
        let runtime = runtime();
        let store = runtime.block_on(opened(&file));
        runtime.block_on(async {
            store.claim(&claim).await.unwrap();
            tokio::spawn(async move {
                let _ = store.complete(&claim, &response("1")).await;
            });
            tokio::task::yield_now().await;
        });
        // The runtime ends with the completion under way, and with it the last handle.
    }
    runtime().block_on(async {
        let store = SqliteStore::open(&file).await.unwrap();
        let rival = claim_of(1);
        let ended = store.as_notify().unwrap().ended(&rival);
        timeout(Duration::from_secs(20), ended).await.unwrap();
        assert_eq!(body_of(&store, 1).await, Some(response("1")));
    });
}

#[tokio::test]
async fn the_schema_may_be_created_by_several_at_once() {
    let folder = Folder::new();
    let mut migrations = JoinSet::new();
    for _ in 0..8 {
        let file = folder.file();
        migrations.spawn(async move { opened(&file).await });
    }
    let stores = migrations.join_all().await;
    recorded(&stores[0], 1).await;
    assert_eq!(body_of(&stores[7], 1).await, Some(response("1")));
}

#[tokio::test]
async fn tables_are_apart() {
    let folder = Folder::new();
    let first = opened(&folder.file()).await;
    let second = SqliteStore::builder()
        .table("Other_2")
        .open(folder.file())
        .await
        .unwrap();
    second.migrate().await.unwrap();
    recorded(&first, 1).await;
    assert_eq!(
        second.claim(&claim_of(1)).await.unwrap(),
        ClaimAnswer::Claimed
    );
    assert_eq!(second.sweep(10).await.unwrap(), 0);
}

#[tokio::test]
async fn a_time_limit_may_be_endless() {
    let folder = Folder::new();
    let builder = SqliteStore::builder().timeout(Duration::MAX);
    let store = builder.open(folder.file()).await.unwrap();
    store.migrate().await.unwrap();
    let claim = claim_of(1);
    assert_eq!(store.claim(&claim).await.unwrap(), ClaimAnswer::Claimed);
    let completed = store.complete(&claim, &response("1")).await.unwrap();
    assert_eq!(completed, Completion::Stored);
}

#[tokio::test]
async fn while_another_holds_the_write_lock_verbs_time_out_and_records_are_read() {
    let folder = Folder::new();
    let _schema = opened(&folder.file()).await;
    let limit = Duration::from_millis(300);
    let store = SqliteStore::builder()
        .timeout(limit)
        .open(folder.file())
        .await
        .unwrap();
    let (done, running) = (claim_of(1), claim_of(2));
    for claim in [&done, &running] {
        assert_eq!(store.claim(claim).await.unwrap(), ClaimAnswer::Claimed);
    }
    store.complete(&done, &response("1")).await.unwrap();

    let mut other = raw(&folder.file()).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let start = Instant::now();
    let free = claim_of(3);
    let ended = response("2");
    let (claim, renew, complete, sweep) = tokio::join!(
        store.claim(&free),
        store.renew(&running),
        store.complete(&running, &ended),
        store.sweep(10),
    );
    assert!(unavailable(claim).contains("write lock"));
    unavailable(renew);
    unavailable(complete);
    unavailable(sweep);
    assert!(start.elapsed() < Duration::from_secs(10));
    // Those who only ask are not held up.
    assert_eq!(body_of(&store, 1).await, Some(response("1")));
    assert!(matches!(
        store.claim(&claim_of(2)).await.unwrap(),
        ClaimAnswer::Found(_)
    ));
    store.ping().await.unwrap();

    other.execute("ROLLBACK").await.unwrap();
    // The claim that was given up was not carried out behind the caller's back.
    assert_eq!(
        store.claim(&claim_of(3)).await.unwrap(),
        ClaimAnswer::Claimed
    );
    let again = store.complete(&running, &response("2")).await.unwrap();
    assert_eq!(again, Completion::Stored);
    assert_eq!(body_of(&store, 2).await, Some(response("2")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_takes_no_claim_away() {
    let folder = Folder::new();
    let store = opened(&folder.file()).await;
    let sweeping = tokio::spawn(store.sweep_every(Duration::ZERO));
    let mut owners = JoinSet::new();
    for id in 0..8 {
        let store = store.clone();
        owners.spawn(async move {
            for _ in 0..40 {
                // Expires about when the next one asks for it.
                let claim = with(claim_of(id), |claim| {
                    claim.lease = Duration::from_millis(2);
                    claim.ttl = Duration::from_millis(2);
                });
                store.claim(&claim).await.unwrap();
                let live = with(claim_of(id), |claim| {
                    claim.on_lost = OnLost::Refuse;
                    claim.takes_over = true;
                });
                while store.claim(&live).await.unwrap() != ClaimAnswer::Claimed {}
                store.sweep(100).await.unwrap();
                assert_eq!(store.renew(&live).await.unwrap(), Fence::Passed);
                assert_eq!(store.release(&live).await.unwrap(), Fence::Passed);
            }
        });
    }
    while let Some(owner) = owners.join_next().await {
        owner.unwrap();
    }
    drop(store);
    timeout(Duration::from_secs(20), sweeping)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_sweep_removes_what_has_expired_and_no_more_than_asked() {
    let folder = Folder::new();
    let store = opened(&folder.file()).await;
    for id in 0..10 {
        let claim = with(claim_of(id), |claim| {
            claim.ttl = Duration::ZERO;
        });
        store.complete(&claim, &response("")).await.unwrap();
    }
    recorded(&store, 10).await;
    let mut swept = Vec::new();
    for _ in 0..4 {
        swept.push(store.sweep(4).await.unwrap());
    }
    assert_eq!(swept, [4, 4, 2, 0]);
    assert_eq!(body_of(&store, 10).await, Some(response("10")));
}
