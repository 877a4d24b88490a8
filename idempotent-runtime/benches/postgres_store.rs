//! The `PostgreSQL` store against the two statements that nobody can do without, through the same
//! driver, on the same columns and indexes, in the same run: `INSERT … ON CONFLICT DO NOTHING`
//! and `UPDATE … WHERE id = … AND owner = …`.
//!
//! Needs a server, named by `POSTGRES_URL`; one that keeps what it commits, as those of users do:
//! `POSTGRES_FSYNC=on tests/run cargo bench …`. Rounds of all contenders take turns, because the
//! speed of a machine and its disk drifts; what counts is the ratio.

use std::{
    fmt::Write,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use idempotent_runtime::{
    Claim, Fingerprint, OwnerToken, PostgresStore, RecordId, Store, StoredResponse,
};
use sqlx::{
    AssertSqlSafe, Encode, PgPool, Postgres, Row, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgConnectOptions, PgPoolOptions, PgTypeInfo, types::Oid},
};
use tokio::task::JoinSet;

const TASKS: usize = 64;
const CONNECTIONS: u32 = 16;
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_secs(1);
const TABLE: &str = "benchmark_records";

static NEXT: AtomicU64 = AtomicU64::new(1);

fn fresh() -> Claim {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut id = [0; 32];
    // Scattered, as hashes are.
    for (index, chunk) in id.chunks_mut(8).enumerate() {
        let scattered = (number + 1000 * index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        chunk.copy_from_slice(&scattered.rotate_left(29).to_be_bytes());
    }
    Claim::new(
        RecordId::from_bytes(id),
        OwnerToken::new(number.into()),
        Fingerprint::from_bytes([7; 32]),
    )
}

fn response() -> StoredResponse {
    StoredResponse::new(201, &[], &[b'x'; 300 - 8])
}

async fn pool(tests_before_acquire: bool) -> PgPool {
    let url = std::env::var("POSTGRES_URL").expect("POSTGRES_URL names a PostgreSQL server");
    let options: PgConnectOptions = url.parse().expect("an address");
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .min_connections(CONNECTIONS)
        .test_before_acquire(tests_before_acquire)
        .connect_with(options)
        .await
        .expect("a server")
}

/// A `uuid` as it is sent beside a statement.
struct Owner(OwnerToken);

impl Type<Postgres> for Owner {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(2950)) // The same on every server.
    }
}

impl Encode<'_, Postgres> for Owner {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend(&self.0.get().to_be_bytes());
        Ok(IsNull::No)
    }
}

/// What the store keeps of the response: with a version and a checksum before it.
fn durable() -> Vec<u8> {
    let mut durable = vec![0; 1 + 8];
    durable.extend(response().as_bytes());
    durable
}

/// The two raw statements, prepared.
async fn raw_first(pool: PgPool) {
    let claim = fresh();
    let claimed = sqlx::query(
        "INSERT INTO benchmark_records (id, fingerprint, owner, lease_ends, free_at, sweep_at) \
         VALUES ($1, $2, $3, now() + interval '30 s', now() + interval '30 s', \
         now() + interval '1 day') ON CONFLICT DO NOTHING",
    )
    .bind(&claim.id.as_bytes()[..])
    .bind(&claim.fingerprint.as_bytes()[..])
    .bind(Owner(claim.owner))
    .execute(&pool)
    .await
    .expect("an insert");
    assert_eq!(claimed.rows_affected(), 1);
    let completed = sqlx::query(
        "UPDATE benchmark_records SET response = $3, free_at = now() + interval '1 day' \
         WHERE id = $1 AND owner = $2",
    )
    .bind(&claim.id.as_bytes()[..])
    .bind(Owner(claim.owner))
    .bind(durable())
    .execute(&pool)
    .await
    .expect("an update");
    assert_eq!(completed.rows_affected(), 1);
}

fn hex(bytes: &[u8]) -> String {
    let mut digits = String::new();
    for byte in bytes {
        write!(digits, "{byte:02x}").expect("a string takes all");
    }
    digits
}

/// The two raw statements in the simple query protocol.
async fn raw_simple_first(pool: PgPool) {
    let claim = fresh();
    let insert = format!(
        "INSERT INTO benchmark_records (id, fingerprint, owner, lease_ends, free_at, sweep_at) \
         VALUES ('\\x{}', '\\x{}', '{:032x}', now() + interval '30 s', now() + interval '30 s', \
         now() + interval '1 day') ON CONFLICT DO NOTHING",
        hex(claim.id.as_bytes()),
        hex(claim.fingerprint.as_bytes()),
        claim.owner.get()
    );
    sqlx::raw_sql(AssertSqlSafe(insert))
        .execute(&pool)
        .await
        .expect("an insert");
    let update = format!(
        "UPDATE benchmark_records SET response = '\\x{}', free_at = now() + interval '1 day' \
         WHERE id = '\\x{}' AND owner = '{:032x}'",
        hex(&durable()),
        hex(claim.id.as_bytes()),
        claim.owner.get()
    );
    sqlx::raw_sql(AssertSqlSafe(update))
        .execute(&pool)
        .await
        .expect("an update");
}

async fn raw_replay(pool: PgPool, done: Claim) {
    let row = sqlx::query(
        "SELECT fingerprint, response FROM benchmark_records WHERE id = $1 AND free_at > now()",
    )
    .bind(&done.id.as_bytes()[..])
    .fetch_one(&pool)
    .await
    .expect("a record");
    let response: Vec<u8> = row.get(1);
    assert!(!response.is_empty());
}

async fn store_first(store: PostgresStore) {
    let claim = fresh();
    store.claim(&claim).await.expect("a claim");
    store.complete(&claim, &response()).await.expect("a record");
}

async fn store_replay(store: PostgresStore, done: Claim) {
    let owner = OwnerToken::new(u128::MAX);
    store
        .claim(&with_owner(done, owner))
        .await
        .expect("a replay");
}

fn with_owner(mut claim: Claim, owner: OwnerToken) -> Claim {
    claim.owner = owner;
    claim
}

/// Operations a second of all tasks together.
async fn rate<F, A>(work: F) -> f64
where
    F: Fn() -> A + Send + Sync + 'static,
    A: Future<Output = ()> + Send,
{
    let work = Arc::new(work);
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let work = Arc::clone(&work);
        tasks.spawn(async move {
            let mut count = 0_u32;
            while started.elapsed() < ROUND {
                work().await;
                count += 1;
            }
            count
        });
    }
    let count: u32 = tasks.join_all().await.into_iter().sum();
    f64::from(count) / started.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn print(names: &[&str], rounds: &[Vec<f64>]) {
    for (index, name) in names.iter().enumerate() {
        let rate = median(rounds.iter().map(|round| round[index]).collect());
        let ratio = median(rounds.iter().map(|round| round[index] / round[0]).collect());
        println!("{name:<58} {rate:>8.0}/s  {ratio:>5.2}");
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let (plain, testing) = (pool(false).await, pool(true).await);
    let clean = "DROP TABLE IF EXISTS benchmark_records";
    sqlx::raw_sql(clean).execute(&plain).await.expect("a drop");
    let store = |pool: &PgPool, named| {
        let builder = PostgresStore::builder(pool.clone()).table(TABLE);
        builder
            .named_statements(named)
            .build()
            .expect("a table's name")
    };
    let stores = [
        store(&plain, false),
        store(&plain, true),
        store(&testing, false),
    ];
    stores[0].migrate().await.expect("a schema");

    let fsync: String = sqlx::query_scalar("SHOW fsync")
        .fetch_one(&plain)
        .await
        .expect("a setting");
    println!(
        "{TASKS} tasks, {CONNECTIONS} connections, 300 bytes, fsync {fsync}; \
         medians of {ROUNDS} rounds"
    );
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let pool = plain.clone();
        let mut round = vec![rate(move || raw_first(pool.clone())).await];
        let pool = plain.clone();
        round.push(rate(move || raw_simple_first(pool.clone())).await);
        for store in &stores {
            let store = store.clone();
            round.push(rate(move || store_first(store.clone())).await);
        }
        rounds.push(round);
    }
    print(
        &[
            "first: raw INSERT and UPDATE, prepared",
            "first: raw INSERT and UPDATE, simple protocol",
            "first: store, simple protocol",
            "first: store",
            "first: store, pool with test_before_acquire",
        ],
        &rounds,
    );

    let done = fresh();
    stores[0].claim(&done).await.expect("a claim");
    stores[0]
        .complete(&done, &response())
        .await
        .expect("a record");
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let pool = plain.clone();
        let mut round = vec![rate(move || raw_replay(pool.clone(), done)).await];
        for store in &stores {
            let store = store.clone();
            round.push(rate(move || store_replay(store.clone(), done)).await);
        }
        rounds.push(round);
    }
    print(
        &[
            "replay: raw SELECT, prepared",
            "replay: store, simple protocol",
            "replay: store",
            "replay: store, pool with test_before_acquire",
        ],
        &rounds,
    );

    let room = sqlx::query(
        "SELECT count(*), pg_table_size('benchmark_records'), \
         pg_indexes_size('benchmark_records') FROM benchmark_records",
    )
    .fetch_one(&plain)
    .await
    .expect("a size");
    let [rows, table, indexes]: [i64; 3] = [room.get(0), room.get(1), room.get(2)];
    println!(
        "bytes per record: {} in the table, {} in indexes",
        table / rows,
        indexes / rows
    );
    let updates = sqlx::query_scalar::<_, f64>(
        "SELECT n_tup_hot_upd::float8 / greatest(n_tup_upd, 1) FROM pg_stat_user_tables \
         WHERE relname = 'benchmark_records'",
    );
    let updates = updates.fetch_one(&plain).await.expect("statistics");
    println!("updates that touch no index: {:.1} %", updates * 100.0);
}
