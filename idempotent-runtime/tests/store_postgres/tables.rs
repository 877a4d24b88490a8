//! The table: made, found missing, of an earlier version, swept.

use std::time::{Duration, Instant};

use idempotent_runtime::{
    Claim, OnLost, PostgresStore, Store,
    store::{ClaimAnswer, Completion, Fence, Found, Inspect as _, RecordState},
};
use sqlx::AssertSqlSafe;
use tokio::{task::JoinSet, time::timeout};

use crate::{FINGERPRINT, Table, brief, claimed, fresh, is_running, pool_of, response, rival};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn a_missing_table_is_named_with_its_mend() {
    let store = PostgresStore::builder(pool_of(1).await)
        .table("no_such_table")
        .build()
        .unwrap();
    let error = store.claim(&fresh()).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        source.contains("no_such_table") && source.contains("migrate"),
        "{source}"
    );
    assert!(store.ping().await.is_err());
    assert!(store.renew(&fresh()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn a_table_in_another_schema_is_made_by_many_at_once() {
    let pool = pool_of(8).await;
    let again = "DROP SCHEMA IF EXISTS test_elsewhere CASCADE; CREATE SCHEMA test_elsewhere";
    sqlx::raw_sql(again).execute(&pool).await.unwrap();
    let store = PostgresStore::builder(pool)
        .table("test_elsewhere.Records")
        .build()
        .unwrap();
    let mut migrations = JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        migrations.spawn(async move { store.migrate().await });
    }
    for migrated in migrations.join_all().await {
        migrated.unwrap();
    }
    let claim = fresh();
    claimed(&store, &claim).await;
    assert_eq!(store.renew(&claim).await.unwrap(), Fence::Passed);
    assert_eq!(store.release(&claim).await.unwrap(), Fence::Passed);
    store.ping().await.unwrap();
    // What is there stays there.
    claimed(&store, &claim).await;
    store.migrate().await.unwrap();
    assert!(is_running(&store.claim(&rival(&claim)).await.unwrap()));
}

/// Functions of the names that these verbs had with durations as numbers; processes that have not
/// been replaced yet go on calling them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn functions_of_another_version_stay_beside_those_of_this_one() {
    let table = Table::new("versions").await;
    let pool = pool_of(2).await;
    let before = format!(
        "CREATE OR REPLACE FUNCTION {table}_claim(bytea, bytea, uuid, bigint, bigint, bigint, \
         boolean, OUT verdict integer) LANGUAGE sql AS 'SELECT 7'; \
         CREATE OR REPLACE FUNCTION {table}_complete(bytea, bytea, uuid, bigint, bytea, \
         OUT verdict integer) LANGUAGE sql AS 'SELECT 7'; \
         CREATE OR REPLACE FUNCTION {table}_renew(bytea, uuid, bigint, bigint) RETURNS boolean \
         LANGUAGE sql AS 'SELECT false'",
        table = table.0
    );
    sqlx::raw_sql(AssertSqlSafe(before))
        .execute(&pool)
        .await
        .unwrap();
    for named in [false, true] {
        let store = table.store_with(pool.clone(), |builder| builder.named_statements(named));
        store.migrate().await.unwrap();
        let claim = fresh();
        claimed(&store, &claim).await;
        assert_eq!(store.renew(&claim).await.unwrap(), Fence::Passed);
        let completed = store.complete(&claim, &response("1")).await.unwrap();
        assert_eq!(completed, Completion::Stored);
    }
    let of_before = format!(
        "SELECT {}_claim('', '', '00000000000000000000000000000000', 1::bigint, 1, 1, false)",
        table.0
    );
    let verdict: i32 = sqlx::query_scalar(AssertSqlSafe(of_before))
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(verdict, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn a_sweep_removes_what_has_expired_and_nothing_else() {
    let table = Table::new("sweep").await;
    let store = table.store().await;
    let expired: Vec<Claim> = (0..40)
        .map(|_| {
            let mut claim = brief(fresh());
            claim.ttl = Duration::from_millis(50);
            claim
        })
        .collect();
    let live = fresh();
    for claim in expired.iter().chain([&live]) {
        claimed(&store, claim).await;
    }
    for claim in &expired[..20] {
        store.complete(claim, &response("1")).await.unwrap();
    }
    let mut refuse = rival(&live);
    refuse.id = fresh().id;
    refuse.on_lost = OnLost::Refuse;
    claimed(&store, &brief(refuse)).await;
    // By the server's clock, which cannot be moved.
    tokio::time::sleep(Duration::from_millis(200)).await;

    // Sweeps and claims of the same ids at once: each id is granted once, and what was granted
    // is not swept.
    let mut claims = JoinSet::new();
    for claim in &expired {
        for _ in 0..3 {
            let (store, mut wanted) = (store.clone(), rival(claim));
            wanted.lease = Duration::from_secs(30);
            claims.spawn(async move { store.claim(&wanted).await.unwrap() });
        }
        let store = store.clone();
        claims.spawn(async move {
            store.sweep(5).await.unwrap();
            ClaimAnswer::Found(Found::Lost {
                fingerprint: FINGERPRINT,
            })
        });
    }
    let answers = claims.join_all().await;
    let granted = answers
        .iter()
        .filter(|answer| **answer == ClaimAnswer::Claimed);
    assert_eq!(granted.count(), expired.len());
    while store.sweep(7).await.unwrap() > 0 {}
    for claim in expired.iter().chain([&live]) {
        assert!(is_running(&store.claim(&rival(claim)).await.unwrap()));
    }
    let answer = store.claim(&rival(&refuse)).await.unwrap();
    assert!(
        matches!(answer, ClaimAnswer::Found(Found::Lost { .. })),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn sweeping_ends_with_the_store() {
    let table = Table::new("sweeper").await;
    let pool = pool_of(2).await;
    let store = table.store_with(pool.clone(), |builder| builder);
    let mut claim = brief(fresh());
    claim.ttl = Duration::from_millis(50);
    claimed(&store, &claim).await;
    let sweeping = tokio::spawn(store.sweep_every(Duration::from_millis(20)));
    let rows = format!("SELECT count(*) FROM {}", table.0);
    let started = Instant::now();
    loop {
        let rows = sqlx::query_scalar::<_, i64>(AssertSqlSafe(rows.clone()));
        if rows.fetch_one(&pool).await.unwrap() == 0 {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "it sweeps");
    }
    drop(store);
    timeout(Duration::from_secs(20), sweeping)
        .await
        .expect("it ends")
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn a_table_of_an_earlier_version_is_read_and_gets_what_it_lacks() {
    let table = Table::new("earlier").await;
    let store = table.store().await;
    let (running, done) = (fresh(), fresh());
    claimed(&store, &running).await;
    claimed(&store, &done).await;
    store.complete(&done, &response("kept")).await.unwrap();
    let earlier = format!(
        "ALTER TABLE {0} DROP COLUMN claimed_at, DROP COLUMN attempts",
        table.0
    );
    let pool = pool_of(1).await;
    sqlx::raw_sql(AssertSqlSafe(earlier))
        .execute(&pool)
        .await
        .unwrap();

    let store = table.store().await;
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    let seen = store.inspect(&running.id).await.unwrap().unwrap();
    assert!(
        matches!(seen.state, RecordState::Running { .. }),
        "{seen:?}"
    );
    assert_eq!((seen.claimed_at, seen.attempts), (None, None));
    let seen = store.inspect(&done.id).await.unwrap().unwrap();
    let RecordState::Done {
        completed_at,
        response: its,
        ..
    } = seen.state
    else {
        panic!("a record is done: {seen:?}");
    };
    assert_eq!((completed_at, its), (None, response("kept")));
    let answer = store.claim(&rival(&done)).await.unwrap();
    assert!(matches!(answer, ClaimAnswer::Found(Found::Done { .. })));
    // And what is new is known.
    store.complete(&running, &response("kept")).await.unwrap();
    let fresh = fresh();
    claimed(&store, &fresh).await;
    let seen = store.inspect(&fresh.id).await.unwrap().unwrap();
    assert!(seen.claimed_at.is_some() && seen.attempts == Some(1));
}
