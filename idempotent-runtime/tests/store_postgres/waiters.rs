//! Those who wait for a claim to end.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use idempotent_runtime::{
    Claim, Store,
    store::{Completion, Transactional},
};
use sqlx::AssertSqlSafe;
use tokio::time::timeout;

use crate::{
    Table, claimed, fresh, one_connection, pool_of, response, rival, wait_until_listening,
};

/// Whoever is not woken looks every 100 ms.
const AT_ONCE: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn a_waiter_is_woken_through_another_store_and_after_its_connection_was_killed() {
    let table = Table::new("waiter").await;
    let (one, other) = (table.store().await, table.store().await);
    wait_until_listening(&other, &table).await;
    // Each way of ending is heard, and not only polled, by the quickest of a few.
    let mut quickest = [Duration::MAX; 3];
    for how in [0, 1, 2].repeat(10) {
        if quickest[how] < AT_ONCE {
            continue;
        }
        let claim = fresh();
        claimed(&one, &claim).await;
        let notify = other.as_notify().unwrap();
        let waiting = rival(&claim);
        let mut waits = pin!(notify.ended(&waiting));
        // Between two looks.
        assert!(
            timeout(Duration::from_millis(230), &mut waits)
                .await
                .is_err()
        );
        let mut started = Instant::now();
        match how {
            0 => drop(one.complete(&claim, &response("1")).await.unwrap()),
            1 => drop(one.release(&claim).await.unwrap()),
            _ => {
                let mut transaction = one_connection().await.begin().await.unwrap();
                let completed = one
                    .complete_in(&mut *transaction, &claim, &response("1"))
                    .await
                    .unwrap();
                assert_eq!(completed, Completion::Stored);
                assert!(
                    timeout(Duration::from_millis(200), &mut waits)
                        .await
                        .is_err()
                );
                started = Instant::now();
                transaction.commit().await.unwrap();
            }
        }
        waits.await;
        quickest[how] = quickest[how].min(started.elapsed());
    }
    assert!(
        quickest.iter().all(|delay| *delay < AT_ONCE),
        "{quickest:?}"
    );

    // Its connection is killed in mid-wait, and the end comes meanwhile.
    for pause in [0, 300] {
        let claim = fresh();
        claimed(&one, &claim).await;
        let notify = other.as_notify().unwrap();
        let mut waits = pin!(notify.ended(&claim));
        assert!(
            timeout(Duration::from_millis(200), &mut waits)
                .await
                .is_err()
        );
        let kill = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE query = 'LISTEN \"{}\"'",
            table.0
        );
        let killed: i64 = sqlx::query_scalar(AssertSqlSafe(kill))
            .fetch_one(&pool_of(1).await)
            .await
            .unwrap();
        assert_eq!(killed, 1);
        assert!(
            timeout(Duration::from_millis(pause), &mut waits)
                .await
                .is_err()
        );
        one.complete(&claim, &response("1")).await.unwrap();
        let started = Instant::now();
        waits.await;
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "{:?}",
            started.elapsed()
        );
    }
    wait_until_listening(&other, &table).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn a_waiter_fails_no_transaction_of_a_stricter_level() {
    let table = Table::new("marked").await;
    let store = table.store().await;
    wait_until_listening(&store, &table).await;
    let pool = pool_of(2).await;
    let marks = format!("SELECT count(*) FROM {}_awaited WHERE id = $1", table.0);
    let marks = async |claim: &Claim| -> i64 {
        let marks = sqlx::query_scalar(AssertSqlSafe(marks.clone())).bind(&claim.id.as_bytes()[..]);
        marks.fetch_one(&pool).await.unwrap()
    };
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let claim = fresh();
        claimed(&store, &claim).await;
        let begin = format!("BEGIN ISOLATION LEVEL {level}");
        let mut transaction = pool.begin_with(AssertSqlSafe(begin)).await.unwrap();
        sqlx::raw_sql("SELECT 1 FROM pg_class LIMIT 1")
            .execute(&mut *transaction)
            .await
            .unwrap();
        let waits = store.as_notify().unwrap().ended(&claim);
        let ends = async {
            let started = Instant::now();
            while marks(&claim).await == 0 {
                assert!(started.elapsed() < Duration::from_secs(20), "it is marked");
            }
            let answer = store
                .complete_in(&mut *transaction, &claim, &response("1"))
                .await;
            assert_eq!(answer.unwrap(), Completion::Stored, "{level}");
            transaction.commit().await.unwrap();
        };
        let both = async { tokio::join!(waits, ends) };
        timeout(Duration::from_secs(20), both)
            .await
            .expect("the waiter finds out");
        // It could not see the mark, which is nobody's now.
        assert_eq!(marks(&claim).await, 1);
        store.sweep(10).await.unwrap();
        assert_eq!(marks(&claim).await, 0);
    }

    // Where it can, none is left behind.
    let claim = fresh();
    claimed(&store, &claim).await;
    let waits = store.as_notify().unwrap().ended(&claim);
    let ends = async {
        let started = Instant::now();
        while marks(&claim).await == 0 {
            assert!(started.elapsed() < Duration::from_secs(20), "it is marked");
        }
        store.sweep(10).await.unwrap();
        assert_eq!(marks(&claim).await, 1, "a mark of a running claim stays");
        store.complete(&claim, &response("1")).await.unwrap();
    };
    tokio::join!(waits, ends);
    assert_eq!(marks(&claim).await, 0);
}
