//! Records in the application's own transactions.

use std::{any::Any, time::Duration};

use idempotent_runtime::{
    Claim, OnLost, SqliteStore, Store,
    store::{ClaimAnswer, Completion, Fence, Forget, Forgotten, Found, RecordState, StoreError},
};
use sqlx::{
    Connection, Row, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use tokio::time::{sleep, timeout};

use crate::{Folder, body_of, claim_of, opened, raw, response, unavailable, with};

async fn complete_in(
    store: &SqliteStore,
    connection: &mut (dyn Any + Send),
    claim: &Claim,
    body: &str,
) -> Result<Completion, StoreError> {
    let transactional = store.as_transactional().unwrap();
    transactional
        .complete_in(connection, claim, &response(body))
        .await
}

async fn application(folder: &Folder) -> (SqliteStore, SqliteConnection) {
    let store = opened(&folder.file()).await;
    let mut raw = raw(&folder.file()).await;
    sqlx::raw_sql("CREATE TABLE payments (amount INTEGER)")
        .execute(&mut raw)
        .await
        .unwrap();
    (store, raw)
}

async fn pay(connection: &mut SqliteConnection) {
    sqlx::raw_sql("INSERT INTO payments VALUES (100)")
        .execute(connection)
        .await
        .unwrap();
}

async fn payments(connection: &mut SqliteConnection) -> i64 {
    let row = sqlx::query("SELECT count(*) FROM payments")
        .fetch_one(connection)
        .await
        .unwrap();
    row.get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_is_committed_while_its_lost_claim_is_to_be_forgotten_stays() {
    let folder = Folder::new();
    let (store, mut raw) = application(&folder).await;
    let mut claim = claim_of(1);
    claim.lease = Duration::from_millis(50);
    claim.on_lost = OnLost::Refuse;
    store.claim(&claim).await.unwrap();
    let mut transaction = raw.begin().await.unwrap();
    pay(&mut transaction).await;
    let connection: &mut SqliteConnection = &mut transaction;
    let stored = complete_in(&store, connection, &claim, "paid")
        .await
        .unwrap();
    assert_eq!(stored, Completion::Stored);
    // As far as an operator can see, the run is lost.
    let operator = store.clone();
    let is_lost = async || {
        let found = operator.as_inspect().unwrap().inspect(&claim.id).await;
        matches!(found.unwrap().unwrap().state, RecordState::Lost { .. })
    };
    while !is_lost().await {
        sleep(Duration::from_millis(5)).await;
    }
    let id = claim.id;
    let forgetting = tokio::spawn(async move {
        let inspect = operator.as_inspect().unwrap();
        inspect.forget(&id, Forget::Lost).await
    });
    // It waits for the write lock, or has been refused it by now.
    sleep(Duration::from_millis(50)).await;
    transaction.commit().await.unwrap();
    assert_eq!(forgetting.await.unwrap().unwrap(), Forgotten::Done);
    let answer = store.claim(&claim_of(1)).await.unwrap();
    assert!(matches!(answer, ClaimAnswer::Found(Found::Done { .. })));
    assert_eq!(payments(&mut raw).await, 1);
}

#[tokio::test]
async fn effect_and_record_are_committed_together() {
    let folder = Folder::new();
    let (store, mut raw) = application(&folder).await;
    let claim = claim_of(1);
    store.claim(&claim).await.unwrap();
    let mut transaction = raw.begin().await.unwrap();
    pay(&mut transaction).await;
    let connection: &mut SqliteConnection = &mut transaction;
    let stored = complete_in(&store, connection, &claim, "1").await.unwrap();
    assert_eq!(stored, Completion::Stored);
    // Nobody sees it yet.
    assert!(matches!(
        store.claim(&claim_of(1)).await.unwrap(),
        ClaimAnswer::Found(Found::Running { .. })
    ));
    // A second effect of the same run, even in the same transaction.
    let again = complete_in(&store, connection, &claim, "2").await.unwrap();
    assert!(
        matches!(&again, Completion::Fenced(Found::Done { response: found, .. })
            if *found == response("1")),
        "{again:?}"
    );
    let waiting = store.clone();
    let waiter = tokio::spawn(async move {
        waiting.as_notify().unwrap().ended(&claim_of(1)).await;
    });
    transaction.commit().await.unwrap();
    timeout(Duration::from_secs(20), waiter)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(body_of(&store, 1).await, Some(response("1")));
    assert_eq!(payments(&mut raw).await, 1);
    assert_eq!(
        store.complete(&claim, &response("3")).await.unwrap(),
        Completion::Stored
    );
    assert_eq!(body_of(&store, 1).await, Some(response("1")));
}

#[tokio::test]
async fn effect_and_record_are_rolled_back_together() {
    let folder = Folder::new();
    let (store, mut raw) = application(&folder).await;
    let claim = claim_of(1);
    store.claim(&claim).await.unwrap();
    let mut transaction = raw.begin().await.unwrap();
    pay(&mut transaction).await;
    let connection: &mut SqliteConnection = &mut transaction;
    complete_in(&store, connection, &claim, "1").await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(payments(&mut raw).await, 0);
    // The claim is as it was.
    assert_eq!(store.renew(&claim).await.unwrap(), Fence::Passed);
    assert_eq!(store.release(&claim).await.unwrap(), Fence::Passed);
    assert_eq!(
        store.claim(&claim_of(1)).await.unwrap(),
        ClaimAnswer::Claimed
    );
}

#[tokio::test]
async fn a_stale_owner_is_fenced_and_an_absent_id_recorded() {
    let folder = Folder::new();
    let (store, mut raw) = application(&folder).await;
    let (owner, stale) = (claim_of(1), claim_of(1));
    store.claim(&owner).await.unwrap();
    let refused = complete_in(&store, &mut raw, &stale, "stale")
        .await
        .unwrap();
    assert!(
        matches!(refused, Completion::Fenced(Found::Running { .. })),
        "{refused:?}"
    );
    store.complete(&owner, &response("owner's")).await.unwrap();
    let refused = complete_in(&store, &mut raw, &stale, "stale")
        .await
        .unwrap();
    assert!(
        matches!(&refused, Completion::Fenced(Found::Done { response: found, .. }) if *found == response("owner's")),
        "{refused:?}"
    );
    // Absent, expired, and lost.
    for (id, lease, on_lost) in [
        (2, None, OnLost::Rerun),
        (3, Some(Duration::ZERO), OnLost::Rerun),
        (4, Some(Duration::ZERO), OnLost::Refuse),
    ] {
        let claim = with(claim_of(id), |claim| {
            claim.on_lost = on_lost;
            claim.lease = lease.unwrap_or_default();
        });
        if lease.is_some() {
            store.claim(&claim).await.unwrap();
            sleep(Duration::from_millis(3)).await;
        }
        let stored = complete_in(&store, &mut raw, &claim, "late").await.unwrap();
        assert_eq!(stored, Completion::Stored);
        assert_eq!(body_of(&store, id).await, Some(response("late")));
    }
    let lost = with(claim_of(5), |claim| {
        claim.on_lost = OnLost::Refuse;
        claim.lease = Duration::ZERO;
    });
    store.claim(&lost).await.unwrap();
    sleep(Duration::from_millis(3)).await;
    let refused = complete_in(&store, &mut raw, &claim_of(5), "stale")
        .await
        .unwrap();
    assert!(
        matches!(refused, Completion::Fenced(Found::Lost { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_pools_connection_and_its_transaction_will_do_and_others_not() {
    let folder = Folder::new();
    let options = SqliteConnectOptions::new()
        .filename(folder.file())
        .journal_mode(SqliteJournalMode::Wal)
        .create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let store = SqliteStore::with_pool(&pool).await.unwrap();
    store.migrate().await.unwrap();
    let mut transaction = pool.begin().await.unwrap();
    complete_in(&store, &mut transaction, &claim_of(1), "1")
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    complete_in(&store, &mut connection, &claim_of(2), "2")
        .await
        .unwrap();
    assert_eq!(body_of(&store, 1).await, Some(response("1")));
    assert_eq!(body_of(&store, 2).await, Some(response("2")));
    let refused = complete_in(&store, &mut "a connection", &claim_of(3), "3").await;
    assert!(matches!(refused, Err(StoreError::Unsupported)));
}

/// The transaction holds the write lock: the store waits, and neither hangs nor grants.
#[tokio::test]
async fn while_a_transaction_is_open_its_claim_stays_its_own() {
    let folder = Folder::new();
    let (_, mut raw) = application(&folder).await;
    let limit = Duration::from_millis(200);
    let store = SqliteStore::builder()
        .timeout(limit)
        .open(folder.file())
        .await
        .unwrap();
    let claim = with(claim_of(1), |claim| {
        claim.lease = Duration::from_millis(100);
    });
    store.claim(&claim).await.unwrap();
    let mut transaction = raw.begin().await.unwrap();
    let connection: &mut SqliteConnection = &mut transaction;
    complete_in(&store, connection, &claim, "1").await.unwrap();
    unavailable(store.renew(&claim).await);
    // Even now that the lease is over.
    unavailable(store.claim(&claim_of(1)).await);
    transaction.commit().await.unwrap();
    assert_eq!(body_of(&store, 1).await, Some(response("1")));
}

#[tokio::test]
async fn a_database_without_the_table_is_unavailable() {
    let folder = Folder::new();
    let (store, _) = application(&folder).await;
    let mut other = raw(&folder.0.join("other.db")).await;
    unavailable(complete_in(&store, &mut other, &claim_of(1), "1").await);
}
