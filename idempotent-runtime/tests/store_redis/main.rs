//! The Redis store against real servers: the contract, and what goes wrong with servers.
//!
//! `REDIS_URL` names a server for the contract. The other tests start servers of their own from
//! the `redis-server` in the path, because they stop them, fill them and hold them up.
#![cfg(all(feature = "redis", feature = "store-contract"))]
#![allow(clippy::unwrap_used)] // Helpers outside of test functions are tests too.

mod faults;
mod replicas;
mod servers;
mod sharing;
mod topologies;
mod waiters;

use std::{env, fmt::Write as _, time::Duration};

use idempotent_runtime::{
    Claim, Fingerprint, OwnerToken, RecordId, RedisStore, RedisStoreBuilder, Store as _,
    StoredResponse,
    protocol::Found,
    store::{
        ClaimAnswer, Completion, Fence, StoreError,
        contract::{Harness, check},
    },
};
use tokio::time::{Instant, sleep, timeout};

use self::servers::Server;

const FINGERPRINT: Fingerprint = Fingerprint::from_bytes([7; 32]);

const SOON: Duration = Duration::from_secs(10);

fn unique() -> u128 {
    uuid::Uuid::new_v4().as_u128()
}

fn id(unique: u128) -> RecordId {
    let mut id = [0; 32];
    id[..16].copy_from_slice(&unique.to_be_bytes());
    RecordId::from_bytes(id)
}

fn fresh() -> Claim {
    Claim::new(id(unique()), OwnerToken::new(unique()), FINGERPRINT)
}

fn rival(claim: &Claim) -> Claim {
    let mut rival = *claim;
    rival.owner = OwnerToken::new(unique());
    rival
}

fn response() -> StoredResponse {
    StoredResponse::new(201, &[("location", b"/1")], b"body")
}

fn is_running(answer: &Result<ClaimAnswer, StoreError>) -> bool {
    matches!(answer, Ok(ClaimAnswer::Found(Found::Running { .. })))
}

fn is_done(answer: &Result<ClaimAnswer, StoreError>) -> bool {
    matches!(answer, Ok(ClaimAnswer::Found(Found::Done { .. })))
}

async fn claimed(store: &RedisStore, claim: &Claim) {
    assert_eq!(store.claim(claim).await.unwrap(), ClaimAnswer::Claimed);
}

async fn completed(store: &RedisStore, claim: &Claim) {
    let completion = store.complete(claim, &response()).await.unwrap();
    assert_eq!(completion, Completion::Stored);
}

async fn ended(store: &RedisStore, claim: &Claim) {
    let ended = store.as_notify().unwrap().ended(claim);
    timeout(SOON, ended).await.expect("a waiter is woken");
}

fn key(prefix: &str, claim: &Claim) -> String {
    let mut key = prefix.to_owned();
    for byte in claim.id.as_bytes() {
        write!(key, "{byte:02x}").unwrap();
    }
    key
}

/// Lets what was set off happen, where nothing tells that it has.
async fn settle() {
    sleep(Duration::from_millis(100)).await;
}

enum Redis {
    Server(RedisStoreBuilder, String),
    Cluster(String),
}

impl Harness for Redis {
    type Store = RedisStore;

    async fn store(&self) -> RedisStore {
        match self {
            Self::Server(builder, url) => builder.clone().connect(url.as_str()).await,
            Self::Cluster(node) => RedisStore::connect_cluster(&[node]).await,
        }
        .unwrap()
    }

    async fn advance(&self, duration: Duration) {
        sleep(duration).await;
    }

    async fn store_with_room_for(&self, _: usize) -> Option<RedisStore> {
        None
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Redis server: REDIS_URL"]
async fn a_given_server_keeps_the_contract() {
    let url = env::var("REDIS_URL").expect("REDIS_URL names a server");
    let builder = RedisStore::builder().prefix(format!("contract-{:x}:", unique()));
    check(&Redis::Server(builder, url)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server in the path"]
async fn one_server_keeps_the_contract() {
    let server = Server::start(&[]);
    check(&Redis::Server(RedisStore::builder(), server.url())).await;
}

/// Whoever is not woken looks once a second.
const AT_ONCE: Duration = Duration::from_millis(500);

/// How often it is tried to see that something happens at once, on a machine that has much else to
/// do.
const TRIES: usize = 5;

/// Asserts that a completion and a release through one store wake a waiter of another.
async fn a_waiter_is_woken_at_once(waiting: &RedisStore, ending: &RedisStore) {
    for release in [false, true] {
        let mut quickest = Duration::MAX;
        for _ in 0..TRIES {
            quickest = quickest.min(woken_after(waiting, ending, release).await);
            if quickest < AT_ONCE {
                break;
            }
        }
        assert!(quickest < AT_ONCE, "woken after {quickest:?}");
    }
}

async fn woken_after(waiting: &RedisStore, ending: &RedisStore, release: bool) -> Duration {
    let first = fresh();
    claimed(ending, &first).await;
    let waiter = rival(&first);
    let end = async {
        settle().await;
        let end = Instant::now();
        if release {
            assert_eq!(ending.release(&first).await.unwrap(), Fence::Passed);
        } else {
            completed(ending, &first).await;
        }
        end
    };
    let woken = async {
        ended(waiting, &waiter).await;
        Instant::now()
    };
    let (end, woken) = tokio::join!(end, woken);
    assert!(woken > end, "a running claim has not ended");
    woken - end
}
