//! Several callers and processes on one table.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use idempotent_runtime::{
    OnLost, Store,
    store::{ClaimAnswer, Completion, Fence, Found, StoreError},
};
use sqlx::AssertSqlSafe;
use tokio::task::JoinSet;

use crate::{
    FINGERPRINT, Table, claimed, fresh, is_running, pool_of, response, rival,
    until_somebody_waits_for,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn two_processes_share_one_truth() {
    let table = Table::new("two").await;
    let (one, other) = (table.store().await, table.store().await);
    for _ in 0..50 {
        let claim = fresh();
        let second = rival(&claim);
        let (left, right) = tokio::join!(one.claim(&claim), other.claim(&second));
        let (owner, owners, stale) = match (left.unwrap(), right.unwrap()) {
            (ClaimAnswer::Claimed, found) if is_running(&found) => (claim, &one, second),
            (found, ClaimAnswer::Claimed) if is_running(&found) => (second, &other, claim),
            answers => panic!("{answers:?}"),
        };
        assert_eq!(other.release(&stale).await.unwrap(), Fence::Fenced);
        let completed = owners.complete(&owner, &response("1")).await.unwrap();
        assert_eq!(completed, Completion::Stored);
        for store in [&one, &other] {
            let answer = store.claim(&rival(&claim)).await.unwrap();
            assert!(
                matches!(&answer, ClaimAnswer::Found(Found::Done { response: found, .. }) if *found == response("1")),
                "{answer:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn a_replay_writes_nothing() {
    let table = Table::new("replay").await;
    let pool = pool_of(1).await;
    let store = table.store_with(pool.clone(), |builder| builder);
    let [running, done] = [fresh(), fresh()];
    claimed(&store, &running).await;
    claimed(&store, &done).await;
    store.complete(&done, &response("1")).await.unwrap();
    let row = format!(
        "SELECT string_agg(ctid::text || xmin || xmax, ',' ORDER BY id) FROM {}",
        table.0
    );
    let rows = async || -> String {
        sqlx::query_scalar(AssertSqlSafe(row.clone()))
            .fetch_one(&pool)
            .await
            .unwrap()
    };
    let before = rows().await;
    for _ in 0..10 {
        for claim in [&running, &done] {
            let answer = store.claim(&rival(claim)).await.unwrap();
            assert_ne!(answer, ClaimAnswer::Claimed);
        }
    }
    assert_eq!(rows().await, before, "no lock, no new version");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn what_cannot_be_read_is_neither_granted_nor_replayed() {
    let table = Table::new("unreadable").await;
    let pool = pool_of(1).await;
    for named in [false, true] {
        let store = table.store_with(pool.clone(), |builder| builder.named_statements(named));
        for damage in [
            "response = '\\x09'",
            "response = '\\x'",
            "response = substr(response, 1, 12)",
            "fingerprint = '\\x01'",
        ] {
            let claim = fresh();
            claimed(&store, &claim).await;
            store.complete(&claim, &response("1")).await.unwrap();
            let update = format!("UPDATE {} SET {damage}", table.0);
            sqlx::raw_sql(AssertSqlSafe(update))
                .execute(&pool)
                .await
                .unwrap();
            let answer = store.claim(&rival(&claim)).await;
            assert!(
                matches!(answer, Err(StoreError::Unreadable(_))),
                "{damage}: {answer:?}"
            );
            let answer = store.complete(&rival(&claim), &response("2")).await;
            assert!(
                matches!(answer, Err(StoreError::Unreadable(_))),
                "{damage}: {answer:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn one_id_that_is_claimed_and_freed_all_the_time_is_held_by_one_at_a_time() {
    let table = Table::new("storm").await;
    let store = table.store_with(pool_of(16).await, |builder| builder);
    let (claim, holders) = (fresh(), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    for _ in 0..32 {
        let (store, holders) = (store.clone(), Arc::clone(&holders));
        tasks.spawn(async move {
            let mut granted = 0;
            for _ in 0..60 {
                let mine = rival(&claim);
                if store.claim(&mine).await.unwrap() == ClaimAnswer::Claimed {
                    assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                    tokio::task::yield_now().await;
                    holders.fetch_sub(1, Ordering::SeqCst);
                    assert_eq!(store.release(&mine).await.unwrap(), Fence::Passed);
                    granted += 1;
                }
            }
            granted
        });
    }
    let granted: u32 = tasks.join_all().await.into_iter().sum();
    assert!(granted > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn a_release_finds_its_claim_that_is_still_being_committed() {
    let table = Table::new("uncommitted").await;
    let store = table.store().await;
    let pool = pool_of(1).await;
    for named in [false, true] {
        let store = table.store_with(pool_of(2).await, |builder| builder.named_statements(named));
        let mut claim = fresh();
        claim.on_lost = OnLost::Refuse;
        // As a claim whose commit takes longer than its caller's patience.
        let mut transaction = pool.begin().await.unwrap();
        let answer = format!(
            "SELECT {}_claim($1, $2, '{:032x}', '30 s', '1 min', '1 min', false)",
            table.0,
            claim.owner.get()
        );
        let answer: Vec<u8> = sqlx::query_scalar(AssertSqlSafe(answer))
            .bind(&claim.id.as_bytes()[..])
            .bind(&FINGERPRINT.as_bytes()[..])
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
        assert_eq!(answer, [0, 0, 0, 1], "claimed");
        let answer = store.release(&claim).await;
        assert!(
            matches!(answer, Err(StoreError::Unavailable(_))),
            "{answer:?}"
        );
        transaction.commit().await.unwrap();
        assert_eq!(store.release(&claim).await.unwrap(), Fence::Passed);
        // Nothing is left of it, nor of the attempts.
        let rows = format!("SELECT count(*) FROM {}", table.0);
        let rows = sqlx::query_scalar::<_, i64>(AssertSqlSafe(rows));
        assert_eq!(rows.fetch_one(&pool).await.unwrap(), 0);
    }

    // One that is committed in time is released without asking again; so is what never was.
    let claim = fresh();
    let mut transaction = pool.begin().await.unwrap();
    let insert = format!(
        "INSERT INTO {} VALUES ($1, $2, '{:032x}', now() + '1 day', now() + '1 day', now())",
        table.0,
        claim.owner.get()
    );
    sqlx::query(AssertSqlSafe(insert))
        .bind(&claim.id.as_bytes()[..])
        .bind(&FINGERPRINT.as_bytes()[..])
        .execute(&mut *transaction)
        .await
        .unwrap();
    let holder = sqlx::query_scalar("SELECT pg_backend_pid()");
    let holder = holder.fetch_one(&mut *transaction).await.unwrap();
    let commits = async {
        until_somebody_waits_for(holder).await;
        transaction.commit().await.unwrap();
    };
    let (released, ()) = tokio::join!(store.release(&claim), commits);
    assert_eq!(released.unwrap(), Fence::Passed);
    assert_eq!(store.release(&claim).await.unwrap(), Fence::Passed);
    let next = rival(&claim);
    claimed(&store, &next).await;
    assert_eq!(store.release(&claim).await.unwrap(), Fence::Fenced);
    assert!(is_running(&store.claim(&claim).await.unwrap()));
}
