//! The `PostgreSQL` store on a real server, named by `POSTGRES_URL`.
#![cfg(all(feature = "postgres", feature = "store-contract"))]
// The helpers of tests are as much tests as those.
#![allow(clippy::unwrap_used)]

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use idempotent_runtime::{
    Claim, Fingerprint, OnLost, OwnerToken, PostgresStore, PostgresStoreBuilder, RecordId, Store,
    StoredResponse,
    store::{
        ClaimAnswer, Completion, Fence, Forget, Forgotten, Found, Inspect as _, RecordState,
        StoreError, Transactional,
        contract::{Harness, check},
    },
};
use sqlx::{
    AssertSqlSafe, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{task::JoinSet, time::timeout};

const FINGERPRINT: Fingerprint = Fingerprint::from_bytes([7; 32]);

fn options() -> PgConnectOptions {
    std::env::var("POSTGRES_URL")
        .expect("POSTGRES_URL names a PostgreSQL server")
        .parse()
        .expect("an address")
}

async fn pool_of(connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(30))
        .connect_with(options())
        .await
        .expect("a server")
}

/// A table of the test's own, dropped by the next run of the test.
struct Table(String);

impl Table {
    async fn new(name: &str) -> Self {
        let table = Self(format!("test_{name}"));
        let pool = pool_of(1).await;
        let drop = format!("DROP TABLE IF EXISTS {}", table.0);
        sqlx::raw_sql(AssertSqlSafe(drop))
            .execute(&pool)
            .await
            .unwrap();
        table
            .store_with(pool, |builder| builder)
            .migrate()
            .await
            .unwrap();
        table
    }

    fn store_with(
        &self,
        pool: PgPool,
        set: impl FnOnce(PostgresStoreBuilder) -> PostgresStoreBuilder,
    ) -> PostgresStore {
        set(PostgresStore::builder(pool).table(&self.0))
            .build()
            .unwrap()
    }

    async fn store(&self) -> PostgresStore {
        self.store_with(pool_of(8).await, |builder| builder)
    }
}

fn unique() -> u128 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_nanos();
    (now << 20) + u128::from(NEXT.fetch_add(1, Ordering::Relaxed))
}

fn fresh() -> Claim {
    let mut id = [0; 32];
    id[..16].copy_from_slice(&unique().to_be_bytes());
    Claim::new(
        RecordId::from_bytes(id),
        OwnerToken::new(unique()),
        FINGERPRINT,
    )
}

fn rival(claim: &Claim) -> Claim {
    let mut rival = *claim;
    rival.owner = OwnerToken::new(unique());
    rival
}

fn brief(mut claim: Claim) -> Claim {
    claim.lease = Duration::from_millis(100);
    claim
}

fn response(body: &str) -> StoredResponse {
    StoredResponse::new(201, &[("location", b"/1")], body.as_bytes())
}

fn is_running(answer: &ClaimAnswer) -> bool {
    matches!(answer, ClaimAnswer::Found(Found::Running { fingerprint, .. }) if *fingerprint == FINGERPRINT)
}

/// The answer, which must not have waited for anything.
async fn at_once<T>(asked: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(5), asked)
        .await
        .expect("nobody waits for a lock")
}

async fn claimed(store: &PostgresStore, claim: &Claim) {
    assert_eq!(store.claim(claim).await.unwrap(), ClaimAnswer::Claimed);
}

struct Real {
    table: Table,
    pool: PgPool,
    named: bool,
}

impl Harness for Real {
    type Store = PostgresStore;

    async fn store(&self) -> PostgresStore {
        self.table.store_with(self.pool.clone(), |builder| {
            builder.named_statements(self.named)
        })
    }

    async fn advance(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    async fn store_with_room_for(&self, _: usize) -> Option<PostgresStore> {
        None
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn the_contract_holds() {
    let table = Table::new("contract").await;
    check(&Real {
        table,
        pool: pool_of(16).await,
        named: false,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn the_contract_holds_with_named_statements() {
    let table = Table::new("contract_named").await;
    check(&Real {
        table,
        pool: pool_of(16).await,
        named: true,
    })
    .await;
}

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

async fn wait_until_listening(store: &PostgresStore, table: &Table) {
    // An end that is told within less than a poll's pause was heard, not polled.
    let notify = store.as_notify().unwrap();
    let started = Instant::now();
    loop {
        let claim = fresh();
        claimed(store, &claim).await;
        let mut waits = pin!(notify.ended(&claim));
        let pending = timeout(Duration::from_millis(300), &mut waits)
            .await
            .is_err();
        assert!(pending, "it runs");
        store.release(&claim).await.unwrap();
        let released = Instant::now();
        waits.await;
        if released.elapsed() < Duration::from_millis(25) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{}", table.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn a_waiter_is_woken_through_another_store_and_after_its_connection_was_killed() {
    let table = Table::new("waiter").await;
    let (one, other) = (table.store().await, table.store().await);
    wait_until_listening(&other, &table).await;
    // Each way of ending is heard, and not only polled, by the quickest of a few.
    let mut quickest = [Duration::MAX; 3];
    for how in [0, 1, 2].repeat(4) {
        let claim = fresh();
        claimed(&one, &claim).await;
        let notify = other.as_notify().unwrap();
        let waiting = rival(&claim);
        let mut waits = pin!(notify.ended(&waiting));
        assert!(
            timeout(Duration::from_millis(200), &mut waits)
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
        quickest
            .iter()
            .all(|delay| *delay < Duration::from_millis(50)),
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
            started.elapsed() < Duration::from_secs(2),
            "{:?}",
            started.elapsed()
        );
    }
    wait_until_listening(&other, &table).await;
}

async fn one_connection() -> PgPool {
    pool_of(1).await
}

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
        assert!(started.elapsed() < Duration::from_secs(2));
    });
}

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
    assert!(started.elapsed() < limit * 2);
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
async fn many_renewals_are_each_told_their_own_answer() {
    let table = Table::new("renewals").await;
    let store = table.store().await;
    let mut renewals = JoinSet::new();
    let claims: Vec<Claim> = (0..600).map(|_| fresh()).collect();
    for claim in claims.iter().step_by(2) {
        claimed(&store, claim).await;
    }
    for (index, claim) in claims.into_iter().enumerate() {
        let store = store.clone();
        renewals.spawn(async move { (index % 2 == 0, store.renew(&claim).await.unwrap()) });
    }
    for (is_owner, fence) in renewals.join_all().await {
        assert_eq!(is_owner, fence == Fence::Passed);
    }
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

/// What the table says of a claim.
async fn told_of<T>(pool: &PgPool, table: &Table, column: &str, claim: &Claim) -> T
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    let told = format!("SELECT {column} FROM {} WHERE id = $1", table.0);
    sqlx::query_scalar(AssertSqlSafe(told))
        .bind(&claim.id.as_bytes()[..])
        .fetch_one(pool)
        .await
        .unwrap()
}

/// Waits until somebody waits for a lock that the connection of this process id holds.
async fn until_somebody_waits_for(pid: i32) {
    let pool = pool_of(1).await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))";
    let started = Instant::now();
    loop {
        let waiting = sqlx::query_scalar::<_, i64>(waiting).bind(pid);
        if waiting.fetch_one(&pool).await.unwrap() > 0 {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(20));
    }
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

/// How connections are made to a database with this level for its default.
fn isolated(level: &str) -> PgConnectOptions {
    options().options([("default_transaction_isolation", level)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn whatever_level_is_the_default_renewals_pass_beside_completions() {
    let table = Table::new("default_level").await;
    for level in ["repeatable read", "serializable"] {
        let pool = PgPoolOptions::new()
            .max_connections(8)
            .connect_with(isolated(level))
            .await
            .unwrap();
        let store = table.store_with(pool, |builder| builder.own_connections(isolated(level)));
        for _ in 0..5 {
            let mut verbs = JoinSet::new();
            let mut renewed = Vec::new();
            for _ in 0..60 {
                let [renews, ends] = [fresh(), fresh()];
                claimed(&store, &renews).await;
                claimed(&store, &ends).await;
                renewed.extend([renews, ends]);
                let store = store.clone();
                verbs.spawn(async move {
                    let answer = store.complete(&ends, &response("1")).await;
                    assert_eq!(answer.unwrap(), Completion::Stored);
                    assert_eq!(store.renew(&ends).await.unwrap(), Fence::Fenced);
                });
            }
            for claim in renewed {
                let store = store.clone();
                verbs.spawn(async move {
                    for _ in 0..5 {
                        store.renew(&claim).await.unwrap();
                    }
                });
            }
            while let Some(verb) = verbs.join_next().await {
                verb.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: POSTGRES_URL"]
async fn whatever_level_is_the_default_a_release_passes_beside_a_renewal() {
    let table = Table::new("default_release").await;
    let pool = pool_of(1).await;
    for level in ["repeatable read", "serializable"] {
        let isolated = PgPoolOptions::new().connect_with(isolated(level)).await;
        let store = table.store_with(isolated.unwrap(), |builder| builder);
        let claim = fresh();
        claimed(&store, &claim).await;
        let mut transaction = pool.begin().await.unwrap();
        let renew = format!("UPDATE {} SET lease_ends = lease_ends", table.0);
        sqlx::raw_sql(AssertSqlSafe(renew))
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
        assert_eq!(released.unwrap(), Fence::Passed, "{level}");
        claimed(&store, &rival(&claim)).await;
    }
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

#[tokio::test]
async fn debug_output_holds_no_password() {
    let options = "postgres://somebody:secret@localhost/db".parse().unwrap();
    let pool = PgPoolOptions::new().connect_lazy_with(options);
    let builder = PostgresStore::builder(pool.clone());
    let shown = format!("{builder:?} {:?}", PostgresStore::new(pool));
    assert!(!shown.contains("secret"), "{shown}");
    assert!(builder.table("a; DROP TABLE users").build().is_err());
}

/// As the store sees a server through `PgBouncer` in transaction mode, named by `PGBOUNCER_URL`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server and PgBouncer before it: POSTGRES_URL, PGBOUNCER_URL"]
async fn the_contract_holds_behind_a_transaction_pooling_proxy() {
    let url = std::env::var("PGBOUNCER_URL").expect("PGBOUNCER_URL: use tests/run");
    let proxied: PgConnectOptions = url.parse().expect("an address");
    let proxied = proxied.statement_cache_capacity(0);
    let table = Table::new("proxied").await;
    let pool = PgPoolOptions::new()
        .max_connections(16)
        .connect_with(proxied)
        .await
        .expect("a proxy");
    let store = table.store_with(pool.clone(), |builder| builder);
    // Somebody else's LISTEN is not ours: waiters look.
    let claim = fresh();
    claimed(&store, &claim).await;
    {
        let mut waits = pin!(store.as_notify().unwrap().ended(&claim));
        assert!(
            timeout(Duration::from_millis(200), &mut waits)
                .await
                .is_err()
        );
        store.release(&claim).await.unwrap();
        let started = Instant::now();
        waits.await;
        assert!(started.elapsed() < Duration::from_secs(2));
    }
    // With a direct connection beside the proxy they are woken.
    let direct = table.store_with(pool.clone(), |builder| builder.own_connections(options()));
    wait_until_listening(&direct, &table).await;
    check(&Real {
        table,
        pool,
        named: false,
    })
    .await;
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
