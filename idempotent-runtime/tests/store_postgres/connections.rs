//! Connections that are few, dropped, full or ended.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use idempotent_runtime::{
    PostgresStore, Store,
    store::{ClaimAnswer, Completion, Fence, Found, StoreError},
};
use sqlx::{AssertSqlSafe, postgres::PgPoolOptions};
use tokio::time::timeout;

use crate::{Table, claimed, fresh, is_running, options, pool_of, response, rival, unique};

#[test]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
fn the_store_outlives_the_runtime_that_used_it_first() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let claim = fresh();
    let (table, store) = runtime().block_on(async {
        let table = Table::new("runtimes").await;
        let store = table.store().await;
        claimed(&store, &claim).await;
        assert_eq!(store.renew(&claim).await.unwrap(), Fence::Passed);
        let waits = store.as_notify().unwrap().ended(&claim);
        assert!(timeout(Duration::from_millis(200), waits).await.is_err());
        store.release(&claim).await.unwrap();
        claimed(&store, &claim).await;
        (table, store)
    });
    runtime().block_on(async {
        assert_eq!(store.renew(&claim).await.unwrap(), Fence::Passed);
        let other = table.store().await;
        let mut waits = pin!(store.as_notify().unwrap().ended(&claim));
        assert!(
            timeout(Duration::from_millis(200), &mut waits)
                .await
                .is_err()
        );
        other.complete(&claim, &response("1")).await.unwrap();
        let started = Instant::now();
        waits.await;
        assert!(started.elapsed() < Duration::from_secs(10));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn a_time_limit_may_be_endless() {
    let table = Table::new("endless").await;
    let pool = pool_of(2).await;
    let store = table.store_with(pool, |builder| builder.timeout(Duration::MAX));
    let claim = fresh();
    claimed(&store, &claim).await;
    assert_eq!(store.renew(&claim).await.unwrap(), Fence::Passed);
    let completed = store.complete(&claim, &response("1")).await.unwrap();
    assert_eq!(completed, Completion::Stored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn with_all_connections_in_use_a_claim_is_unavailable_and_a_renewal_passes() {
    let table = Table::new("used_up").await;
    let pool = pool_of(2).await;
    let limit = Duration::from_millis(300);
    let store = table.store_with(pool.clone(), |builder| builder.timeout(limit));
    let claim = fresh();
    claimed(&store, &claim).await;
    let held = [pool.begin().await.unwrap(), pool.begin().await.unwrap()];
    let started = Instant::now();
    let answer = store.claim(&fresh()).await;
    assert!(
        matches!(answer, Err(StoreError::Unavailable(_))),
        "{answer:?}"
    );
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "the default is 5 s"
    );
    assert_eq!(store.renew(&claim).await.unwrap(), Fence::Passed);
    assert_eq!(store.renew(&rival(&claim)).await.unwrap(), Fence::Fenced);
    {
        let waits = store.as_notify().unwrap().ended(&claim);
        assert!(timeout(limit, waits).await.is_err(), "a waiter still waits");
    }
    for transaction in held {
        transaction.rollback().await.unwrap();
    }
    assert!(is_running(&store.claim(&rival(&claim)).await.unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn a_call_that_is_dropped_leaves_its_connection_whole() {
    let table = Table::new("dropped").await;
    let store = table.store_with(pool_of(2).await, |builder| builder);
    for micros in (0..2000).step_by(20) {
        let claim = fresh();
        let limit = Duration::from_micros(micros);
        let _ = timeout(limit, store.claim(&claim)).await;
        claimed(&store, &claim).await;
        let large = response(&"x".repeat(100_000));
        let _ = timeout(limit, store.complete(&claim, &large)).await;
        assert_eq!(
            store.complete(&claim, &large).await.unwrap(),
            Completion::Stored
        );
        let answer = store.claim(&rival(&claim)).await.unwrap();
        assert!(
            matches!(&answer, ClaimAnswer::Found(Found::Done { response, .. }) if *response == large)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn a_full_server_does_not_say_that_nothing_was_claimed_before() {
    let table = Table::new("full").await;
    let pool = pool_of(2).await;
    // From the second insertion on there is no room, and the first takes its connection along
    // if it is told to.
    let trigger = format!(
        "DROP SEQUENCE IF EXISTS {table}_tries; CREATE SEQUENCE {table}_tries;
         CREATE OR REPLACE FUNCTION {table}_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('{table}_tries') = 1 THEN
                 PERFORM pg_terminate_backend(pg_backend_pid());
                 PERFORM pg_sleep(10);
             END IF;
             RAISE disk_full;
         END $$;
         CREATE TRIGGER full_disk BEFORE INSERT ON {table}
             FOR EACH ROW EXECUTE FUNCTION {table}_full()",
        table = table.0
    );
    let trigger = AssertSqlSafe(trigger);
    sqlx::raw_sql(trigger).execute(&pool).await.unwrap();
    let store = table.store_with(pool, |builder| builder);
    let answer = store.claim(&fresh()).await;
    assert!(
        matches!(answer, Err(StoreError::Unavailable(_))),
        "whether the first one claimed is not known: {answer:?}"
    );
    let answer = store.claim(&fresh()).await;
    assert!(matches!(answer, Err(StoreError::Full)), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn connections_that_the_server_has_ended_cost_nobody_an_answer() {
    const CONNECTIONS: u32 = 20;
    let table = Table::new("ended").await;
    let admin = pool_of(1).await;
    let name = format!("ended {}", unique());
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .test_before_acquire(false)
        .connect_with(options().application_name(&name))
        .await
        .unwrap();
    let store = table.store_with(pool.clone(), |builder| builder);
    let (first, done) = (fresh(), fresh());
    claimed(&store, &first).await;
    claimed(&store, &done).await;
    for verb in 0..3 {
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            held.push(pool.acquire().await.unwrap());
        }
        drop(held);
        let started = Instant::now();
        while pool.num_idle() < CONNECTIONS as usize {
            assert!(started.elapsed() < Duration::from_secs(20));
            tokio::task::yield_now().await;
        }
        let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                    WHERE application_name = $1";
        let killed = sqlx::query_scalar::<_, i64>(kill).bind(&name);
        let killed = killed.fetch_one(&admin).await.unwrap();
        assert!(killed >= CONNECTIONS.into(), "{killed}");
        match verb {
            0 => claimed(&store, &fresh()).await,
            1 => assert_eq!(store.release(&first).await.unwrap(), Fence::Passed),
            _ => {
                let answer = store.complete(&done, &response("1")).await;
                assert_eq!(answer.unwrap(), Completion::Stored);
            }
        }
    }
}

#[tokio::test]
async fn debug_output_holds_no_password() {
    let options = "postgres://somebody:secret@localhost/db".parse().unwrap();
    let pool = PgPoolOptions::new().connect_lazy_with(options);
    let builder = PostgresStore::builder(pool.clone());
    let shown = format!("{builder:?} {:?}", PostgresStore::new(pool));
    assert!(!shown.contains("secret"), "{shown}");
    assert!(builder.table("a; DROP TABLE users").build().is_err());
}
