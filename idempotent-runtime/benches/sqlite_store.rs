//! The SQLite store beside raw statements of the same driver: medians of interleaved rounds.
//!
//! `cargo bench --bench sqlite_store --features sqlite`

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use idempotent_runtime::{
    Claim, Durability, Fingerprint, OwnerToken, RecordId, SqliteStore, Store, StoredResponse,
    store::{ClaimAnswer, Completion},
};
use sqlx::{
    Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

const ROUNDS: usize = 15;
const TASKS: usize = 64;
/// Verbs of each task in a round.
const VERBS: usize = 16;
/// First executions of one task alone.
const ALONE: usize = 200;
const BODY: [u8; 300] = [b'x'; 300];
const FINGERPRINT: [u8; 32] = [7; 32];

const RAW_CLAIM: &str = "INSERT INTO idempotency_records \
    (id, owner, fingerprint, state, lease_until, expires_at) \
    VALUES (?, ?, ?, 1, unixepoch('subsec') * 1000, unixepoch('subsec') * 1000) \
    ON CONFLICT (id) DO NOTHING";
const RAW_COMPLETE: &str = "UPDATE idempotency_records SET state = 3, lease_until = NULL, \
    expires_at = unixepoch('subsec') * 1000 + 86400000, response = ? WHERE id = ? AND owner = ?";

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return; // Run as a test: it compiles.
    }
    let folder = std::env::temp_dir().join(format!("idempotent-bench-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    for durability in [Durability::Full, Durability::Normal] {
        std::fs::create_dir_all(&folder).expect("a folder for the files");
        runtime.block_on(print(durability, &folder));
        std::fs::remove_dir_all(&folder).expect("the folder can be removed");
    }
}

async fn print(durability: Durability, folder: &Path) {
    let store = SqliteStore::builder()
        .durability(durability)
        .open(folder.join("store.db"))
        .await
        .expect("the store opens");
    store.migrate().await.expect("the store migrates");
    let mut raw = raw(durability, &folder.join("raw.db")).await;
    let mut seconds: [Vec<Duration>; 8] = Default::default();
    for _ in 0..ROUNDS {
        let ids = fresh_ids();
        let again = fresh_ids();
        let measured = [
            raw_alone(&mut raw, &ids[..ids.len() / 8]).await * 8,
            raw_claims(&mut raw, &again).await,
            claims(&store, &ids).await,
            raw_completions(&mut raw, &again).await,
            completions(&store, &ids).await,
            raw_reads(&mut raw, &again).await,
            replays(&store, &ids).await,
            first_executions(&store, &fresh_ids()).await,
        ];
        for (all, one) in seconds.iter_mut().zip(measured) {
            all.push(one);
        }
    }
    let verbs = TASKS * VERBS;
    let [
        alone,
        raw_claim,
        claim,
        raw_complete,
        complete,
        raw_read,
        replay,
        first,
    ] = seconds.map(|mut all| {
        all.sort_unstable();
        all[all.len() / 2]
    });
    #[allow(clippy::cast_precision_loss)] // A thousand.
    let rate = |time: Duration| verbs as f64 / time.as_secs_f64();
    println!(
        "\n{durability:?} durability, {TASKS} tasks; medians of {ROUNDS} interleaved rounds\n"
    );
    println!("| what | raw /s | store /s | store ÷ raw |");
    println!("|---|---|---|---|");
    for (name, raw, ours) in [
        ("claim, raw: one transaction each", alone, claim),
        ("claim, raw: batches of 64", raw_claim, claim),
        ("complete, raw: batches of 64", raw_complete, complete),
        (
            "first execution, raw: batches of 64",
            raw_claim + raw_complete,
            first,
        ),
        ("replay, raw: one SELECT after another", raw_read, replay),
    ] {
        println!(
            "| {name} | {:.0} | {:.0} | {:.2} |",
            rate(raw),
            rate(ours),
            rate(ours) / rate(raw)
        );
    }
    let one = one_by_one(&store).await;
    println!("\none task alone: {one:?} for a claim and a completion");
    let records = (ROUNDS * verbs * 2 + ALONE) as u64;
    // What is still in the log alone is not in the file's size.
    let mut stored = crate::raw(durability, &folder.join("store.db")).await;
    sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(&mut stored)
        .await
        .expect("a checkpoint");
    let bytes = |file: &str| std::fs::metadata(folder.join(file)).map_or(0, |data| data.len());
    println!(
        "{} bytes of the file for each record with a 300-byte body",
        bytes("store.db") / records
    );
}

async fn raw(durability: Durability, path: &Path) -> SqliteConnection {
    let synchronous = match durability {
        Durability::Normal => SqliteSynchronous::Normal,
        _ => SqliteSynchronous::Full,
    };
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous);
    let mut raw = SqliteConnection::connect_with(&options)
        .await
        .expect("a connection");
    sqlx::raw_sql(include_str!("../sql/sqlite.sql"))
        .execute(&mut raw)
        .await
        .expect("a table");
    raw
}

fn fresh_ids() -> Vec<RecordId> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let fresh = || {
        let mut id = [0; 32];
        for (part, seed) in id.chunks_exact_mut(8).zip(1..) {
            // Spread like a hash (splitmix64).
            let mut z = NEXT
                .fetch_add(seed, Ordering::Relaxed)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            part.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes());
        }
        RecordId::from_bytes(id)
    };
    std::iter::repeat_with(fresh).take(TASKS * VERBS).collect()
}

fn claim_of(id: RecordId, owner: u128) -> Claim {
    Claim::new(
        id,
        OwnerToken::new(owner),
        Fingerprint::from_bytes(FINGERPRINT),
    )
}

fn response() -> StoredResponse {
    StoredResponse::new(201, &[("content-type", b"application/json")], &BODY)
}

async fn raw_alone(raw: &mut SqliteConnection, ids: &[RecordId]) -> Duration {
    let start = Instant::now();
    for id in ids {
        raw_claim(raw, id, &[1; 16]).await;
    }
    start.elapsed()
}

async fn raw_claim(raw: &mut SqliteConnection, id: &RecordId, owner: &[u8]) {
    let query = sqlx::query(RAW_CLAIM)
        .bind(&id.as_bytes()[..])
        .bind(owner)
        .bind(&FINGERPRINT[..]);
    query.execute(raw).await.expect("a row");
}

async fn raw_claims(raw: &mut SqliteConnection, ids: &[RecordId]) -> Duration {
    let start = Instant::now();
    for batch in ids.chunks(TASKS) {
        let mut transaction = raw
            .begin_with("BEGIN IMMEDIATE")
            .await
            .expect("a transaction");
        for id in batch {
            raw_claim(&mut transaction, id, &[1; 16]).await;
        }
        transaction.commit().await.expect("a commit");
    }
    start.elapsed()
}

async fn raw_completions(raw: &mut SqliteConnection, ids: &[RecordId]) -> Duration {
    let response = response();
    let start = Instant::now();
    for batch in ids.chunks(TASKS) {
        let mut transaction = raw
            .begin_with("BEGIN IMMEDIATE")
            .await
            .expect("a transaction");
        for id in batch {
            let query = sqlx::query(RAW_COMPLETE)
                .bind(&response.as_bytes()[..])
                .bind(&id.as_bytes()[..])
                .bind(&[1; 16][..]);
            query.execute(&mut *transaction).await.expect("a row");
        }
        transaction.commit().await.expect("a commit");
    }
    start.elapsed()
}

async fn raw_reads(raw: &mut SqliteConnection, ids: &[RecordId]) -> Duration {
    let start = Instant::now();
    for id in ids {
        sqlx::query("SELECT * FROM idempotency_records WHERE id = ?")
            .bind(&id.as_bytes()[..])
            .fetch_one(&mut *raw)
            .await
            .expect("a row");
    }
    start.elapsed()
}

/// Runs 64 tasks, each with its share of the ids.
async fn in_tasks<F>(
    store: &SqliteStore,
    ids: &[RecordId],
    each: impl Fn(SqliteStore, Vec<RecordId>) -> F,
) -> Duration
where
    F: Future<Output = ()> + Send + 'static,
{
    let start = Instant::now();
    let tasks: Vec<_> = ids
        .chunks(VERBS)
        .map(|ids| tokio::spawn(each(store.clone(), ids.to_vec())))
        .collect();
    for task in tasks {
        task.await.expect("a task");
    }
    start.elapsed()
}

async fn claims(store: &SqliteStore, ids: &[RecordId]) -> Duration {
    in_tasks(
        store,
        ids,
        |store: SqliteStore, ids: Vec<RecordId>| async move {
            for id in ids {
                let answer = store.claim(&claim_of(id, 1)).await.expect("an answer");
                assert_eq!(answer, ClaimAnswer::Claimed);
            }
        },
    )
    .await
}

async fn completions(store: &SqliteStore, ids: &[RecordId]) -> Duration {
    in_tasks(
        store,
        ids,
        |store: SqliteStore, ids: Vec<RecordId>| async move {
            let response = response();
            for id in ids {
                let answer = store
                    .complete(&claim_of(id, 1), &response)
                    .await
                    .expect("an answer");
                assert_eq!(answer, Completion::Stored);
            }
        },
    )
    .await
}

async fn replays(store: &SqliteStore, ids: &[RecordId]) -> Duration {
    in_tasks(
        store,
        ids,
        |store: SqliteStore, ids: Vec<RecordId>| async move {
            for id in ids {
                let answer = store.claim(&claim_of(id, 2)).await.expect("an answer");
                assert!(matches!(answer, ClaimAnswer::Found(_)));
            }
        },
    )
    .await
}

async fn first_executions(store: &SqliteStore, ids: &[RecordId]) -> Duration {
    in_tasks(
        store,
        ids,
        |store: SqliteStore, ids: Vec<RecordId>| async move {
            let response = response();
            for id in ids {
                let claim = claim_of(id, 1);
                store.claim(&claim).await.expect("an answer");
                store.complete(&claim, &response).await.expect("an answer");
            }
        },
    )
    .await
}

async fn one_by_one(store: &SqliteStore) -> Duration {
    let ids = fresh_ids();
    let response = response();
    let start = Instant::now();
    for id in &ids[..ALONE] {
        let claim = claim_of(*id, 1);
        store.claim(&claim).await.expect("an answer");
        store.complete(&claim, &response).await.expect("an answer");
    }
    start.elapsed() / u32::try_from(ALONE).expect("a small number")
}
