//! Records in the application's own transactions.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use idempotent_runtime::{
    Store,
    store::{
        ClaimAnswer, Completion, Fence, Forget, Forgotten, Found, Inspect as _, StoreError,
        Transactional,
    },
};
use sqlx::AssertSqlSafe;
use tokio::time::timeout;

use crate::{Table, at_once, brief, claimed, fresh, is_running, pool_of, response, rival, told_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn a_transaction_records_together_with_its_effect_or_not_at_all() {
    let table = Table::new("transaction").await;
    let store = table.store().await;
    let pool = pool_of(2).await;
    for commits in [false, true] {
        let claim = fresh();
        claimed(&store, &claim).await;
        let mut transaction = pool.begin().await.unwrap();
        let answer = store
            .complete_in(&mut *transaction, &claim, &response("1"))
            .await;
        assert_eq!(answer.unwrap(), Completion::Stored);
        // A second effect of the same run, even in the same transaction.
        let answer = store
            .complete_in(&mut *transaction, &claim, &response("2"))
            .await;
        assert!(
            matches!(&answer, Ok(Completion::Fenced(Found::Done { response: found, .. }))
                if *found == response("1")),
            "{answer:?}"
        );
        // Neither a rival, nor a renewal, nor a waiter waits for the transaction.
        let answer = at_once(store.claim(&rival(&claim))).await.unwrap();
        assert!(is_running(&answer), "{answer:?}");
        assert_eq!(at_once(store.renew(&claim)).await.unwrap(), Fence::Passed);
        assert_eq!(at_once(store.sweep(10)).await.unwrap(), 0);
        {
            let mut waits = pin!(store.as_notify().unwrap().ended(&claim));
            assert!(
                timeout(Duration::from_millis(250), &mut waits)
                    .await
                    .is_err()
            );
            if commits {
                transaction.commit().await.unwrap();
                timeout(Duration::from_secs(5), waits)
                    .await
                    .expect("woken by the commit");
            } else {
                transaction.rollback().await.unwrap();
            }
        }
        let answer = store.claim(&rival(&claim)).await.unwrap();
        if commits {
            assert!(
                matches!(answer, ClaimAnswer::Found(Found::Done { .. })),
                "{answer:?}"
            );
        } else {
            assert!(is_running(&answer), "{answer:?}");
            assert_eq!(store.renew(&claim).await.unwrap(), Fence::Passed);
        }
    }

    // Fenced, running and done, and the transaction is still of use.
    let claim = fresh();
    claimed(&store, &claim).await;
    let mut transaction = pool.begin().await.unwrap();
    let stale = rival(&claim);
    let answer = store
        .complete_in(&mut *transaction, &stale, &response("2"))
        .await
        .unwrap();
    assert!(
        matches!(answer, Completion::Fenced(Found::Running { .. })),
        "{answer:?}"
    );
    store.complete(&claim, &response("1")).await.unwrap();
    let answer = store
        .complete_in(&mut *transaction, &stale, &response("2"))
        .await
        .unwrap();
    assert!(
        matches!(answer, Completion::Fenced(Found::Done { .. })),
        "{answer:?}"
    );

    // Absent: recorded all the same. A rival does not wait for long.
    let absent = fresh();
    let answer = store
        .complete_in(&mut *transaction, &absent, &response("3"))
        .await
        .unwrap();
    assert_eq!(answer, Completion::Stored);
    let started = Instant::now();
    let answer = store.claim(&rival(&absent)).await;
    assert!(
        matches!(&answer, Ok(answer) if is_running(answer)),
        "{answer:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(5));
    transaction.commit().await.unwrap();
    let answer = store.claim(&rival(&absent)).await.unwrap();
    assert!(
        matches!(answer, ClaimAnswer::Found(Found::Done { .. })),
        "{answer:?}"
    );

    let mut something_else = 1_u8;
    let answer = store
        .complete_in(&mut something_else, &claim, &response("1"))
        .await;
    assert!(matches!(answer, Err(StoreError::Unsupported)), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn a_lease_that_ends_during_the_transaction_lets_nobody_in() {
    let table = Table::new("overtaken").await;
    let store = table.store().await;
    let pool = pool_of(1).await;
    let claim = brief(fresh());
    claimed(&store, &claim).await;
    let mut transaction = pool.begin().await.unwrap();
    store
        .complete_in(&mut *transaction, &claim, &response("1"))
        .await
        .unwrap();
    // By the server's clock, which cannot be moved.
    tokio::time::sleep(claim.lease * 2).await;
    let mut takes_over = rival(&claim);
    takes_over.takes_over = true;
    for wanted in [rival(&claim), takes_over] {
        let answer = at_once(store.claim(&wanted)).await.unwrap();
        assert!(is_running(&answer), "{answer:?}");
    }
    // Nor is a waiter told at once and again and again.
    let started = Instant::now();
    store.as_notify().unwrap().ended(&claim).await;
    assert!(started.elapsed() >= Duration::from_millis(90));
    transaction.rollback().await.unwrap();
    claimed(&store, &rival(&claim)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn a_completion_beside_an_open_transaction_leaves_nobody_waiting_on_the_server() {
    let table = Table::new("beside").await;
    let store = table.store().await;
    let pool = pool_of(2).await;
    for renewed in [false, true] {
        let claim = fresh();
        claimed(&store, &claim).await;
        if renewed {
            assert_eq!(store.renew(&claim).await.unwrap(), Fence::Passed);
        }
        let mut transaction = pool.begin().await.unwrap();
        let completed = store
            .complete_in(&mut *transaction, &claim, &response("1"))
            .await;
        assert_eq!(completed.unwrap(), Completion::Stored);
        // The server gives up by itself, before the store gives up the server.
        let beside = store.complete(&claim, &response("1")).await.unwrap_err();
        let source = std::error::Error::source(&beside).unwrap().to_string();
        assert!(source.contains("another transaction"), "{source}");
        transaction.rollback().await.unwrap();
        let completed = store.complete(&claim, &response("1")).await.unwrap();
        assert_eq!(completed, Completion::Stored);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn a_stricter_isolation_fails_and_loses_nothing() {
    let table = Table::new("isolation").await;
    let store = table.store().await;
    let pool = pool_of(1).await;
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let claim = fresh();
        claimed(&store, &claim).await;
        let begin = format!("BEGIN ISOLATION LEVEL {level}");
        let mut transaction = pool.begin_with(AssertSqlSafe(begin)).await.unwrap();
        sqlx::raw_sql("SELECT 1")
            .execute(&mut *transaction)
            .await
            .unwrap();
        assert_eq!(store.renew(&claim).await.unwrap(), Fence::Passed);
        let answer = store
            .complete_in(&mut *transaction, &claim, &response("1"))
            .await;
        assert!(
            matches!(answer, Err(StoreError::Unavailable(_))),
            "{level}: {answer:?}"
        );
        transaction.rollback().await.unwrap();
        let mut transaction = pool.begin().await.unwrap();
        let answer = store
            .complete_in(&mut *transaction, &claim, &response("1"))
            .await;
        assert_eq!(answer.unwrap(), Completion::Stored);
        transaction.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn a_lease_is_renewed_soon_after_a_transaction_that_was_rolled_back() {
    let table = Table::new("rolled_back").await;
    let store = table.store().await;
    let pool = pool_of(2).await;
    let mut claim = fresh();
    claim.lease = Duration::from_secs(12);
    claimed(&store, &claim).await;
    let left = "(extract(epoch FROM lease_ends) * 1000)::bigint";
    let before: i64 = told_of(&pool, &table, left, &claim).await;
    let mut transaction = pool.begin().await.unwrap();
    let answer = store
        .complete_in(&mut *transaction, &claim, &response("1"))
        .await;
    assert_eq!(answer.unwrap(), Completion::Stored);
    assert_eq!(at_once(store.renew(&claim)).await.unwrap(), Fence::Passed);
    let meanwhile: i64 = told_of(&pool, &table, left, &claim).await;
    assert_eq!(meanwhile, before, "the row is locked");
    transaction.rollback().await.unwrap();
    // Nobody asks again. A run would after a third of the lease.
    let started = Instant::now();
    while told_of::<i64>(&pool, &table, left, &claim).await == before {
        assert!(started.elapsed() < claim.lease, "it is renewed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // And once, because that was enough.
    let after: i64 = told_of(&pool, &table, left, &claim).await;
    tokio::time::sleep(claim.lease / 6).await;
    let still: i64 = told_of(&pool, &table, left, &claim).await;
    assert_eq!(still, after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn a_record_that_is_being_written_in_a_transaction_is_not_forgotten() {
    let table = Table::new("forget").await;
    let store = table.store().await;
    let claim = brief(fresh());
    claimed(&store, &claim).await;
    let pool = pool_of(1).await;
    let mut transaction = pool.begin().await.unwrap();
    let paid = response("paid");
    let completion = store.complete_in(&mut *transaction, &claim, &paid);
    assert_eq!(completion.await.unwrap(), Completion::Stored);
    // The lease ends meanwhile: as far as anybody can see, the run is lost.
    tokio::time::sleep(claim.lease * 2).await;
    for how in [Forget::Lost, Forget::EvenDone, Forget::EvenRunning] {
        let forgotten = at_once(store.forget(&claim.id, how)).await;
        assert_eq!(forgotten.unwrap(), Forgotten::Running);
    }
    transaction.commit().await.unwrap();
    let answer = store.claim(&rival(&claim)).await.unwrap();
    assert!(matches!(answer, ClaimAnswer::Found(Found::Done { .. })));
}
