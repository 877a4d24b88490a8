//! The Redis store beside the raw commands it stands on, by the same driver over one connection,
//! in one run: how many a second, and what the store adds.
//!
//! `REDIS_URL` names the server. Rounds of both take turns, so that a noisy machine is noisy for
//! both; the best round of each counts.

// A failure here is a failure of the measurement.
#![allow(clippy::unwrap_used)]

use std::{
    env,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use idempotent_runtime::{
    Claim, Fingerprint, OwnerToken, RecordId, RedisStore, Store as _, StoredResponse,
};
use redis::{Value, aio::MultiplexedConnection};
use tokio::task::JoinSet;

const TASKS: u64 = 64;
const EACH: u64 = 400;
const ROUNDS: usize = 9;
const KEY_LEN: usize = 12 + 64;

fn claim(number: u64) -> Claim {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let mut claim = Claim::new(
        RecordId::from_bytes(id),
        OwnerToken::new(number.into()),
        Fingerprint::from_bytes([7; 32]),
    );
    claim.ttl = Duration::from_mins(10);
    claim
}

fn response() -> StoredResponse {
    let headers: [(&str, &[u8]); 2] = [
        ("content-type", b"application/json"),
        ("location", b"/payments/8f4e"),
    ];
    StoredResponse::new(201, &headers, &[b'x'; 300])
}

/// Runs `ask` for so many numbers, many at once, and gives how many a second.
async fn rate<F, A>(first: u64, each: u64, tasks: u64, ask: F) -> f64
where
    F: Fn(u64) -> A + Clone + Send + 'static,
    A: Future<Output = ()> + Send,
{
    let start = Instant::now();
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let ask = ask.clone();
        running.spawn(async move {
            for index in 0..each {
                ask(first + task * each + index).await;
            }
        });
    }
    running.join_all().await;
    #[allow(clippy::cast_precision_loss)] // Far below what a float counts.
    let count = (tasks * each) as f64;
    count / start.elapsed().as_secs_f64()
}

/// What the store does, without the store: the same commands with as many bytes.
#[derive(Clone)]
struct Raw {
    connection: MultiplexedConnection,
    script: Arc<str>,
    record: Arc<[u8]>,
}

impl Raw {
    fn key(number: u64) -> String {
        format!("raw:{number:0>width$}", width = KEY_LEN - 4)
    }

    async fn claim(&self, number: u64) -> Value {
        let mut set = redis::cmd("SET");
        set.arg(Self::key(number)).arg(&[b'c'; 66]);
        set.arg(&["NX", "GET", "PX", "30000"]);
        set.query_async(&mut self.connection.clone()).await.unwrap()
    }

    async fn complete(&self, number: u64) {
        let mut run = redis::cmd("EVALSHA");
        run.arg(&*self.script).arg(1).arg(Self::key(number));
        run.arg(&*self.record).arg("600000");
        run.exec_async(&mut self.connection.clone()).await.unwrap();
    }

    async fn set(&self, number: u64) {
        let mut set = redis::cmd("SET");
        set.arg(Self::key(number))
            .arg(&*self.record)
            .arg("PX")
            .arg("600000");
        set.exec_async(&mut self.connection.clone()).await.unwrap();
    }
}

struct Row(&'static str, f64, f64, f64);

/// It is emptied between rounds.
async fn assert_empty(raw: &Raw) {
    let keys: u64 = redis::cmd("DBSIZE")
        .query_async(&mut raw.connection.clone())
        .await
        .unwrap();
    assert_eq!(
        keys, 0,
        "REDIS_URL must name a database without keys: it will be emptied"
    );
}

async fn measure(store: &RedisStore, raw: &Raw, tasks: u64, each: u64) -> Vec<Row> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut first = [0.0_f64; 3];
    let mut replay = [0.0_f64; 2];
    for _ in 0..ROUNDS {
        let start = NEXT.fetch_add(tasks * each, Ordering::Relaxed);
        let asked = raw.clone();
        let rate_of = rate(start, each, tasks, move |number| {
            let raw = asked.clone();
            async move {
                raw.claim(number).await;
                raw.complete(number).await;
            }
        });
        first[0] = first[0].max(rate_of.await);
        let asked = raw.clone();
        let rate_of = rate(start, each, tasks, move |number| {
            let raw = asked.clone();
            async move { drop(raw.claim(number).await) }
        });
        replay[0] = replay[0].max(rate_of.await);
        let asked = store.clone();
        let rate_of = rate(start, each, tasks, move |number| {
            let store = asked.clone();
            async move {
                let claim = claim(number);
                store.claim(&claim).await.unwrap();
                store.complete(&claim, &response()).await.unwrap();
            }
        });
        first[1] = first[1].max(rate_of.await);
        let asked = store.clone();
        let rate_of = rate(start, each, tasks, move |number| {
            let store = asked.clone();
            async move { drop(store.claim(&claim(number)).await.unwrap()) }
        });
        replay[1] = replay[1].max(rate_of.await);
        let asked = raw.clone();
        let beyond = start + (1 << 40);
        let rate_of = rate(beyond, each, tasks, move |number| {
            let raw = asked.clone();
            async move {
                raw.claim(number).await;
                raw.set(number).await;
            }
        });
        first[2] = first[2].max(rate_of.await);
        redis::cmd("FLUSHDB")
            .exec_async(&mut raw.connection.clone())
            .await
            .unwrap();
    }
    vec![
        Row(
            "first, raw: SET NX GET and a script",
            first[1],
            first[0],
            0.8,
        ),
        Row("first, raw: SET NX GET and SET", first[1], first[2], 0.8),
        Row("replay, raw: SET NX GET", replay[1], replay[0], 0.9),
    ]
}

async fn memory(store: &RedisStore, raw: &Raw) -> i64 {
    let claim = claim(u64::MAX);
    store.complete(&claim, &response()).await.unwrap();
    let key = format!("idempotency:{}{}", "f".repeat(16), "0".repeat(48));
    let mut usage = redis::cmd("MEMORY");
    usage.arg("USAGE").arg(key);
    usage
        .query_async(&mut raw.connection.clone())
        .await
        .unwrap()
}

#[tokio::main]
async fn main() {
    let Ok(url) = env::var("REDIS_URL") else {
        println!("REDIS_URL names no server: nothing measured");
        return;
    };
    let client = redis::Client::open(url.as_str()).unwrap();
    let settings = client.get_connection_info().tcp_settings().clone();
    let info = client.get_connection_info().clone();
    let info = info.set_tcp_settings(settings.set_nodelay(true));
    let config = redis::AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_pipeline_buffer_size(1024);
    let mut connection = redis::Client::open(info)
        .unwrap()
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .unwrap();
    let script: String = redis::cmd("SCRIPT")
        .arg("LOAD")
        .arg(
            "if redis.call('GETRANGE', KEYS[1], 0, 17) then \
             redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end return 1",
        )
        .query_async(&mut connection)
        .await
        .unwrap();
    let raw = Raw {
        connection,
        script: script.into(),
        record: vec![b'r'; 58 + response().as_bytes().len()].into(),
    };
    assert_empty(&raw).await;
    let store = RedisStore::connect(&url).await.unwrap();
    for (tasks, each) in [(TASKS, EACH), (1, 2000)] {
        println!("{tasks} tasks");
        for Row(name, ours, theirs, goal) in measure(&store, &raw, tasks, each).await {
            println!(
                "  {name:<38} store {ours:>8.0}/s  raw {theirs:>8.0}/s  ratio {:.2} (goal {goal})",
                ours / theirs
            );
        }
    }
    println!(
        "a record of a 300-byte body: {} bytes in the server",
        memory(&store, &raw).await
    );
}
