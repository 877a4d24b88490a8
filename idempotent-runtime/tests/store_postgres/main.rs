//! The `PostgreSQL` store on a real server, named by `POSTGRES_URL`.
#![cfg(all(feature = "postgres", feature = "store-contract"))]
#![allow(clippy::unwrap_used)] // The helpers of tests are as much tests as those.

mod connections;
mod renewals;
mod sharing;
mod tables;
mod transactions;
mod waiters;

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use idempotent_runtime::{
    Claim, Fingerprint, OwnerToken, PostgresStore, PostgresStoreBuilder, RecordId, Store,
    StoredResponse,
    store::{
        ClaimAnswer, Found,
        contract::{Harness, check},
    },
};
use sqlx::{
    AssertSqlSafe, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;

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

async fn one_connection() -> PgPool {
    pool_of(1).await
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
        assert!(started.elapsed() < Duration::from_secs(10));
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
