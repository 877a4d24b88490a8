//! The Redis store against real servers: the contract, and what goes wrong with servers.
//!
//! `REDIS_URL` names a server for the contract. The other tests start servers of their own from
//! the `redis-server` in the path, because they stop them, fill them and hold them up.
#![cfg(all(feature = "redis", feature = "store-contract"))]
#![allow(clippy::unwrap_used)] // Helpers outside of test functions are tests too.

mod redis_servers;

use std::{
    env,
    fmt::Write as _,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use idempotent_runtime::{
    Claim, Fingerprint, OnLost, OwnerToken, RecordId, RedisStore, RedisStoreBuilder, Store as _,
    StoredResponse,
    protocol::Found,
    store::{
        ClaimAnswer, Completion, Fence, StoreError,
        contract::{Harness, check},
    },
};
use redis_servers::Server;
use tokio::time::{Instant, sleep, timeout};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server in the path"]
async fn a_cluster_keeps_the_contract() {
    let nodes = redis_servers::cluster(3).await;
    let harness = Redis::Cluster(nodes[0].url());
    check(&harness).await;
    let store = harness.store().await;
    for _ in 0..50 {
        claimed(&store, &fresh()).await;
    }
    for node in &nodes {
        let keys: i64 = redis::cmd("DBSIZE").query(&mut node.connection()).unwrap();
        assert!(keys > 0, "every node has some of the records");
    }
}

#[tokio::test]
#[ignore = "needs redis-server in the path"]
async fn a_cluster_that_lost_a_node_serves_the_others_and_then_all() {
    let mut nodes = redis_servers::cluster(3).await;
    let store = RedisStore::builder()
        .timeout(Duration::from_secs(1))
        .connect_cluster([nodes[0].url()])
        .await
        .unwrap();
    let claims: Vec<Claim> = (0..30).map(|_| fresh()).collect();
    for one in &claims {
        claimed(&store, one).await;
    }
    // The one that the store was told of.
    nodes[0].kill();
    let mut asked = tokio::task::JoinSet::new();
    for one in claims.clone() {
        let store = store.clone();
        asked.spawn(async move { store.renew(&one).await.is_ok() });
    }
    let served = asked
        .join_all()
        .await
        .iter()
        .filter(|served| **served)
        .count();
    assert!((1..30).contains(&served), "{served} of 30");
    nodes[0].restart();
    for one in &claims {
        let start = Instant::now();
        while store.complete(one, &response()).await.is_err() {
            assert!(start.elapsed() < SOON, "the node is found again");
        }
        assert!(is_done(&store.claim(&rival(one)).await));
    }
}

/// Asserts that a completion and a release through one store wake a waiter of another.
async fn a_waiter_is_woken_at_once(waiting: &RedisStore, ending: &RedisStore) {
    for release in [false, true] {
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
        let after = woken - end;
        // Whoever is not woken looks once a second.
        assert!(after < Duration::from_millis(500), "woken after {after:?}");
    }
}

#[tokio::test]
#[ignore = "needs redis-server in the path"]
async fn a_waiter_is_woken_by_another_store() {
    let server = Server::start(&[]);
    let (waiting, ending) = (server.store().await, server.store().await);
    for _ in 0..20 {
        a_waiter_is_woken_at_once(&waiting, &ending).await;
    }
    // One connection heard them all, and channels that nobody listens to any more are left.
    settle().await;
    let mut connection = server.connection();
    let clients = redis::cmd("CLIENT")
        .arg("LIST")
        .query::<String>(&mut connection);
    assert_eq!(clients.unwrap().matches("cmd=sunsubscribe").count(), 1);
    let channels = redis::cmd("PUBSUB")
        .arg("SHARDCHANNELS")
        .query::<Vec<String>>(&mut connection);
    assert!(channels.unwrap().is_empty());
}

#[tokio::test]
#[ignore = "needs redis-server in the path"]
async fn in_a_cluster_a_waiter_is_woken_by_another_store() {
    let nodes = redis_servers::cluster(3).await;
    let connect = |node: usize| {
        let url = nodes[node].url();
        async move { RedisStore::connect_cluster(&[&url]).await.unwrap() }
    };
    let (waiting, ending) = (connect(0).await, connect(1).await);
    for _ in 0..10 {
        a_waiter_is_woken_at_once(&waiting, &ending).await;
    }
}

#[tokio::test]
#[ignore = "needs redis-server in the path"]
async fn a_sentinel_names_the_master() {
    let server = Server::start(&[]);
    let sentinel = Server::sentinel(&server);
    let store = RedisStore::connect_sentinel(&[&sentinel.url()], "payments")
        .await
        .unwrap();
    let first = fresh();
    claimed(&store, &first).await;
    completed(&store, &first).await;
    a_waiter_is_woken_at_once(&store, &store).await;
    let unknown = RedisStore::connect_sentinel(&[&sentinel.url()], "unknown").await;
    assert!(matches!(unknown, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
#[ignore = "needs redis-server in the path"]
async fn after_a_failover_the_sentinels_are_asked_again() {
    let master = Server::start(&[]);
    let replica = master.replica();
    replica.until_it_follows().await;
    let sentinel = Server::sentinel(&master);
    let store = RedisStore::connect_sentinel(&[&sentinel.url()], "payments")
        .await
        .unwrap();
    let [running, done] = [fresh(), fresh()];
    claimed(&store, &running).await;
    claimed(&store, &done).await;
    completed(&store, &done).await;
    // Refused until the sentinel knows of the replica.
    let mut failover = redis::cmd("SENTINEL");
    failover.arg(&["FAILOVER", "payments"]);
    let start = Instant::now();
    while failover.exec(&mut sentinel.connection()).is_err() {
        assert!(start.elapsed() < 2 * SOON, "the sentinel begins");
        settle().await;
    }
    let promoted = || {
        let role = redis::cmd("INFO")
            .arg("replication")
            .query::<String>(&mut replica.connection());
        role.unwrap().contains("role:master")
    };
    while !promoted() {
        assert!(start.elapsed() < 3 * SOON, "the replica becomes the master");
        // Meanwhile an answer may be missing, but is never a second grant.
        let answer = store.claim(&rival(&done)).await;
        assert!(answer.is_err() || is_done(&answer), "{answer:?}");
        settle().await;
    }
    drop(master);
    while store.renew(&running).await.is_err() {
        assert!(start.elapsed() < 3 * SOON, "the new master is found");
        settle().await;
    }
    completed(&store, &running).await;
    assert!(is_done(&store.claim(&rival(&done)).await));
    let mut replicated = redis::cmd("EXISTS");
    replicated.arg(key("idempotency:", &running));
    assert!(replicated.query::<bool>(&mut replica.connection()).unwrap());
}

#[tokio::test]
#[ignore = "needs redis-server in the path"]
async fn a_waiter_outlives_the_connection_that_it_hears_with() {
    let server = Server::start(&[]);
    let store = server.store().await;
    let first = fresh();
    claimed(&store, &first).await;
    let waiter = rival(&first);
    let end = async {
        settle().await;
        let killed: i64 = redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", "pubsub"])
            .query(&mut server.connection())
            .unwrap();
        assert_eq!(killed, 1);
        settle().await;
        let end = Instant::now();
        completed(&store, &first).await;
        end
    };
    let (end, ()) = tokio::join!(end, ended(&store, &waiter));
    // Whoever is not woken looks once a second.
    assert!(end.elapsed() < Duration::from_millis(500));
}

#[tokio::test]
#[ignore = "needs redis-server in the path"]
async fn a_waiter_without_the_right_to_listen_looks_for_itself() {
    let server = Server::start(&[]);
    redis::cmd("ACL")
        .arg(&[
            "SETUSER",
            "narrow",
            "on",
            ">secret",
            "~idempotency:*",
            "resetchannels",
        ])
        .arg(&["+@read", "+@write", "+@scripting", "+ping"])
        .exec(&mut server.connection())
        .unwrap();
    let url = server.url().replace("redis://", "redis://narrow:secret@");
    let store = RedisStore::connect(&url).await.unwrap();
    assert!(!format!("{store:?}").contains("secret"));
    for _ in 0..3 {
        let first = fresh();
        claimed(&store, &first).await;
        let waiter = rival(&first);
        let end = async {
            settle().await;
            completed(&store, &first).await;
            Instant::now()
        };
        let (end, ()) = tokio::join!(end, ended(&store, &waiter));
        assert!(end.elapsed() < Duration::from_millis(500));
    }
}

#[tokio::test]
#[ignore = "needs redis-server in the path"]
async fn a_lost_connection_is_made_again() {
    let server = Server::start(&[]);
    let store = server.store().await;
    let first = fresh();
    claimed(&store, &first).await;
    for _ in 0..5 {
        let killed: i64 = redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"])
            .query(&mut server.connection())
            .unwrap();
        assert!(killed > 0);
        // Nobody notices.
        assert!(is_running(&store.claim(&rival(&first)).await));
        assert_eq!(store.renew(&first).await.unwrap(), Fence::Passed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server in the path"]
async fn a_server_that_is_away_is_unavailable_and_then_back() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let store = server.store_within(Duration::from_secs(1)).await;
    let [running, done] = [fresh(), fresh()];
    claimed(&store, &running).await;
    claimed(&store, &done).await;
    completed(&store, &done).await;
    server.kill();
    let start = Instant::now();
    for _ in 0..20 {
        let refused = store.claim(&fresh()).await;
        assert!(
            matches!(refused, Err(StoreError::Unavailable(_))),
            "{refused:?}"
        );
        assert!(store.complete(&running, &response()).await.is_err());
        assert!(store.ping().await.is_err());
    }
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    server.restart();
    store.ping().await.unwrap();
    assert_eq!(store.renew(&running).await.unwrap(), Fence::Passed);
    assert!(is_running(&store.claim(&rival(&running)).await));
    completed(&store, &running).await;
    assert!(is_done(&store.claim(&rival(&done)).await));
    a_waiter_is_woken_at_once(&store, &store).await;
}

#[tokio::test]
#[ignore = "needs redis-server in the path"]
async fn a_server_that_comes_back_empty_takes_the_outcome_all_the_same() {
    let mut server = Server::start(&[]);
    let store = server.store().await;
    let first = fresh();
    claimed(&store, &first).await;
    server.kill();
    server.restart();
    assert_eq!(store.renew(&first).await.unwrap(), Fence::Fenced);
    completed(&store, &first).await;
    assert!(is_done(&store.claim(&rival(&first)).await));
}

#[tokio::test]
#[ignore = "needs redis-server in the path"]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let server = Server::start(&[]);
    let store = server.store().await;
    let mut connection = server.connection();
    let mut forget = || {
        redis::cmd("SCRIPT")
            .arg("FLUSH")
            .exec(&mut connection)
            .unwrap();
    };
    let [first, second] = [fresh(), fresh()];
    claimed(&store, &first).await;
    forget();
    assert_eq!(store.renew(&first).await.unwrap(), Fence::Passed);
    forget();
    completed(&store, &first).await;
    claimed(&store, &second).await;
    forget();
    assert_eq!(store.release(&second).await.unwrap(), Fence::Passed);
}

#[tokio::test]
#[ignore = "needs redis-server in the path"]
async fn a_late_answer_is_no_answer_and_asking_again_is_safe() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let store = server.store_within(Duration::from_millis(200)).await;
    let [first, second] = [fresh(), fresh()];
    // The server has seen the script before.
    completed(&store, &fresh()).await;
    claimed(&store, &second).await;
    let mut connection = server.connection();
    let held = std::thread::spawn(move || {
        let sleep = redis::cmd("DEBUG")
            .arg("SLEEP")
            .arg(1)
            .exec(&mut connection);
        sleep.unwrap();
    });
    settle().await;
    let start = Instant::now();
    let outcome = response();
    let (claim, complete) = tokio::join!(store.claim(&first), store.complete(&second, &outcome));
    assert!(
        matches!(claim, Err(StoreError::Unavailable(_))),
        "{claim:?}"
    );
    assert!(
        matches!(complete, Err(StoreError::Unavailable(_))),
        "{complete:?}"
    );
    assert!(start.elapsed() < Duration::from_millis(900));
    held.join().unwrap();
    settle().await;
    // Both have happened, and are not mistaken for somebody else's.
    assert!(is_running(&store.claim(&rival(&first)).await));
    assert!(is_done(&store.claim(&rival(&second)).await));
    claimed(&store, &first).await;
    completed(&store, &second).await;

    // A server that holds back writes alone.
    let pause = redis::cmd("CLIENT")
        .arg(&["PAUSE", "600", "WRITE"])
        .to_owned();
    pause.exec(&mut server.connection()).unwrap();
    let third = fresh();
    assert!(store.claim(&third).await.is_err());
    sleep(Duration::from_millis(700)).await;
    assert!(is_running(&store.claim(&rival(&third)).await));
    claimed(&store, &third).await;
}

#[tokio::test]
#[ignore = "needs redis-server in the path"]
async fn a_full_server_refuses_claims_and_tells_what_it_has() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]);
    let store = server.store().await;
    let [running, done] = [fresh(), fresh()];
    claimed(&store, &running).await;
    claimed(&store, &done).await;
    completed(&store, &done).await;
    let limit = |bytes: &str| {
        let mut limit = redis::cmd("CONFIG");
        limit.arg(&["SET", "maxmemory", bytes]);
        limit.exec(&mut server.connection()).unwrap();
    };
    limit("100kb");
    for _ in 0..10 {
        let mut asked = fresh();
        for takes_over in [false, true] {
            asked.takes_over = takes_over;
            let refused = store.claim(&asked).await;
            assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
        }
    }
    let refused = store.complete(&running, &response()).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(store.renew(&running).await.unwrap(), Fence::Passed);
    assert!(is_running(&store.claim(&rival(&running)).await));
    assert!(is_done(&store.claim(&rival(&done)).await));

    limit("100mb");
    completed(&store, &running).await;
    claimed(&store, &fresh()).await;
}

#[tokio::test]
#[ignore = "needs redis-server in the path"]
async fn what_cannot_be_read_is_neither_granted_nor_changed() {
    let server = Server::start(&[]);
    let store = server.store().await;
    let mut connection = server.connection();
    let first = fresh();
    claimed(&store, &first).await;
    completed(&store, &first).await;
    let key = key("idempotency:", &first);
    let good: Vec<u8> = redis::cmd("GET").arg(&key).query(&mut connection).unwrap();
    let with = |index: usize, byte: u8| {
        let mut value = good.clone();
        value[index] = byte;
        value
    };
    let values = [
        // Another version, other states, a response of another version.
        with(0, 2),
        with(1, 0),
        with(1, 1),
        with(1, 2),
        with(1, 9),
        with(58, 9),
        good[..40].to_vec(),
        good[..1].to_vec(),
        Vec::new(),
        b"something else".to_vec(),
    ];
    for value in values {
        let mut set = redis::cmd("SET");
        set.arg(&key).arg(&value).exec(&mut connection).unwrap();
        let mut asked = rival(&first);
        for takes_over in [false, true] {
            asked.takes_over = takes_over;
            let answer = store.claim(&asked).await;
            assert!(
                matches!(answer, Err(StoreError::Unreadable(_))),
                "{value:?}: {answer:?}"
            );
        }
        let answer = store.complete(&asked, &response()).await;
        assert!(
            matches!(answer, Err(StoreError::Unreadable(_))),
            "{value:?}: {answer:?}"
        );
        assert!(!matches!(store.release(&asked).await, Ok(Fence::Passed)));
        assert!(!matches!(store.renew(&asked).await, Ok(Fence::Passed)));
        ended(&store, &asked).await;
        let kept: Vec<u8> = redis::cmd("GET").arg(&key).query(&mut connection).unwrap();
        assert_eq!(kept, value);
    }
    // Not even a value.
    redis::cmd("DEL").arg(&key).exec(&mut connection).unwrap();
    redis::cmd("HSET")
        .arg(&key)
        .arg(&["a", "b"])
        .exec(&mut connection)
        .unwrap();
    let answer = store.claim(&rival(&first)).await;
    assert!(
        matches!(answer, Err(StoreError::Unreadable(_))),
        "{answer:?}"
    );
    let answer = store.complete(&rival(&first), &response()).await;
    assert!(
        matches!(answer, Err(StoreError::Unreadable(_))),
        "{answer:?}"
    );
    for answer in [store.release(&first).await, store.renew(&first).await] {
        assert!(
            matches!(answer, Err(StoreError::Unreadable(_))),
            "{answer:?}"
        );
    }
}

#[tokio::test]
#[ignore = "needs redis-server in the path"]
async fn prefixes_are_apart() {
    let server = Server::start(&[]);
    let connect = |prefix: &str| RedisStore::builder().prefix(prefix).connect(server.url());
    let (one, two) = (
        connect("one:").await.unwrap(),
        connect("two:").await.unwrap(),
    );
    let first = fresh();
    claimed(&one, &first).await;
    claimed(&two, &rival(&first)).await;
    completed(&one, &first).await;
    assert!(is_running(&two.claim(&rival(&first)).await));
    let keys = redis::cmd("KEYS")
        .arg("*")
        .query::<Vec<String>>(&mut server.connection());
    let keys = keys.unwrap();
    assert_eq!(keys.len(), 2);
    assert!(keys.contains(&key("one:", &first)));

    let long = "x".repeat(101);
    for prefix in ["", "a b", "{a}", "ä", "a\n", long.as_str()] {
        let refused = connect(prefix).await;
        assert!(
            matches!(refused, Err(StoreError::Unavailable(_))),
            "{prefix}"
        );
    }
}

/// Counts warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicUsize>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN && metadata.target().starts_with("idempotent")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
#[ignore = "needs redis-server in the path"]
async fn a_server_that_evicts_is_warned_of() {
    let server = Server::start(&["--maxmemory", "100mb"]);
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    for (policy, warned) in [("noeviction", 0), ("allkeys-lru", 1), ("volatile-ttl", 2)] {
        let mut set = redis::cmd("CONFIG");
        set.arg(&["SET", "maxmemory-policy", policy]);
        set.exec(&mut server.connection()).unwrap();
        server.store().await;
        assert_eq!(warnings.0.load(Ordering::Relaxed), warned, "{policy}");
    }
}

#[tokio::test]
#[ignore = "needs redis-server in the path"]
async fn what_cannot_be_connected_to_is_an_error_without_secrets() {
    let server = Server::start(&["--requirepass", "right"]);
    let port = server.port();
    let wrong = format!("redis://:wrong@127.0.0.1:{port}");
    for url in [
        "",
        "no url",
        "http://127.0.0.1",
        "redis://127.0.0.1:1",
        &wrong,
    ] {
        let error = RedisStore::connect(url).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{url}");
        assert!(!format!("{error:?}").contains("wrong@"), "{error:?}");
    }
    RedisStore::connect(&format!("redis://:right@127.0.0.1:{port}"))
        .await
        .unwrap();
}

#[tokio::test]
#[ignore = "needs redis-server in the path"]
async fn of_many_who_take_over_one_does_and_policies_may_change() {
    let server = Server::start(&[]);
    let store = server.store().await;
    let mut lost = fresh();
    lost.on_lost = OnLost::Refuse;
    lost.lease = Duration::from_millis(400);
    claimed(&store, &lost).await;
    sleep(Duration::from_millis(450)).await;
    // Lost also to those who would have run it again.
    let mut other = rival(&lost);
    other.on_lost = OnLost::Rerun;
    let answer = store.claim(&other).await.unwrap();
    assert!(
        matches!(answer, ClaimAnswer::Found(Found::Lost { .. })),
        "{answer:?}"
    );
    ended(&store, &other).await;
    // Its own owner is still its owner.
    claimed(&store, &lost).await;
    assert!(is_running(&store.claim(&other).await));
    sleep(Duration::from_millis(450)).await;
    let mut taking = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (store, mut asked) = (store.clone(), rival(&lost));
        asked.takes_over = true;
        asked.lease = SOON;
        taking.spawn(async move { store.claim(&asked).await.unwrap() });
    }
    let answers = taking.join_all().await;
    let granted = answers
        .iter()
        .filter(|answer| **answer == ClaimAnswer::Claimed);
    assert_eq!(granted.count(), 1);
    assert_eq!(store.renew(&lost).await.unwrap(), Fence::Fenced);
}

#[tokio::test]
#[ignore = "needs redis-server in the path"]
async fn too_few_replicas_are_an_unavailable_store() {
    let server = Server::start(&[]);
    let waiting = async |limit| {
        let builder = RedisStore::builder().wait_for_replicas(1, limit);
        builder.connect(server.url()).await.unwrap()
    };
    // One that soon has waited long enough, where there is nobody to wait for.
    let store = waiting(Duration::from_millis(300)).await;
    // One that waits for a replica on a busy machine.
    let patient = waiting(Duration::from_secs(4)).await;
    let first = fresh();
    let refused = store.claim(&first).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    // It was given back.
    let keys: i64 = redis::cmd("DBSIZE")
        .query(&mut server.connection())
        .unwrap();
    assert_eq!(keys, 0);

    let replica = server.replica();
    replica.until_it_follows().await;
    claimed(&patient, &first).await;
    completed(&patient, &first).await;
    let mut connection = replica.connection();
    let mut has = redis::cmd("EXISTS");
    has.arg(key("idempotency:", &first));
    assert!(has.query::<bool>(&mut connection).unwrap());

    let second = fresh();
    claimed(&patient, &second).await;
    drop(replica);
    // The record is there, and asking again does not pretend that a replica has it.
    for _ in 0..2 {
        let refused = store.complete(&second, &response()).await;
        assert!(
            matches!(refused, Err(StoreError::Unavailable(_))),
            "{refused:?}"
        );
    }
    let replica = server.replica();
    replica.until_it_follows().await;
    completed(&patient, &second).await;
}

/// What a field of `INFO` says.
fn info(connection: &mut redis::Connection, section: &str, field: &str) -> String {
    let mut info = redis::cmd("INFO");
    let info: String = info.arg(section).query(connection).unwrap();
    let mut lines = info.lines();
    let line = lines.find_map(|line| line.strip_prefix(field));
    line.unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server in the path"]
async fn a_replica_that_is_away_holds_up_no_renewal() {
    let server = Server::start(&[]);
    let mut replica = server.replica();
    replica.until_it_follows().await;
    let store = RedisStore::builder()
        .wait_for_replicas(1, SOON)
        .connect(server.url())
        .await
        .unwrap();
    let first = fresh();
    claimed(&store, &first).await;
    replica.kill();
    // Each holds its connection up for ten seconds.
    let mut refused = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let store = store.clone();
        refused.spawn(async move { store.claim(&fresh()).await });
    }
    let mut connection = server.connection();
    let start = Instant::now();
    while info(&mut connection, "clients", "blocked_clients:") != "1" {
        assert!(start.elapsed() < SOON, "a claim waits for the replica");
        settle().await;
    }
    for _ in 0..3 {
        let renewed = timeout(first.lease / 3, store.renew(&first)).await;
        assert_eq!(renewed.expect("in time").unwrap(), Fence::Passed);
    }
    let (waiter, ending) = (rival(&first), server.store().await);
    let end = async {
        settle().await;
        completed(&ending, &first).await;
    };
    tokio::join!(ended(&store, &waiter), end);
    assert_eq!(
        info(&mut connection, "clients", "blocked_clients:"),
        "1",
        "the claim still waits"
    );
}

#[tokio::test]
#[ignore = "needs redis-server in the path"]
async fn only_claims_and_completions_wait_for_replicas() {
    let server = Server::start(&[]);
    let replica = server.replica();
    replica.until_it_follows().await;
    let store = RedisStore::builder()
        .wait_for_replicas(1, SOON)
        .connect(server.url())
        .await
        .unwrap();
    let mut connection = server.connection();
    let mut waits = || {
        let calls = info(&mut connection, "commandstats", "cmdstat_wait:calls=");
        let calls = calls.split(',').next().unwrap_or_default();
        calls.parse::<u32>().unwrap()
    };
    let [released, done] = [fresh(), fresh()];
    claimed(&store, &released).await;
    claimed(&store, &done).await;
    assert_eq!(waits(), 2);
    for claim in [&released, &done] {
        assert_eq!(store.renew(claim).await.unwrap(), Fence::Passed);
    }
    assert_eq!(store.release(&released).await.unwrap(), Fence::Passed);
    ended(&store, &released).await;
    assert_eq!(waits(), 2);
    completed(&store, &done).await;
    // A script that is sent for the first time is sent twice.
    assert!(waits() > 2);
}

#[test]
#[ignore = "needs redis-server in the path"]
fn a_store_outlives_the_runtime_that_connected_it() {
    let server = Server::start(&[]);
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let first = fresh();
    let one = runtime();
    let store = one.block_on(server.store());
    one.block_on(claimed(&store, &first));
    one.block_on(a_waiter_is_woken_at_once(&store, &store));
    drop(one);
    let two = runtime();
    two.block_on(completed(&store, &first));
    two.block_on(a_waiter_is_woken_at_once(&store, &store));
    // A store may be dropped where nothing may block.
    two.block_on(async move { drop(store) });
}

/// What a second process does: completes the claim that `FIRST_CLAIM` names.
#[tokio::test]
#[ignore = "run by the next test"]
async fn second_process() {
    let Ok(given) = env::var("FIRST_CLAIM") else {
        return;
    };
    let [url, key, owner] = given.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let owner = OwnerToken::new(owner.parse().unwrap());
    let claim = Claim::new(id(key.parse().unwrap()), owner, FINGERPRINT);
    let store = RedisStore::connect(url).await.unwrap();
    assert!(is_running(&store.claim(&rival(&claim)).await));
    completed(&store, &claim).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server in the path"]
async fn two_processes_share_a_store() {
    let server = Server::start(&[]);
    let store = server.store().await;
    let (key, owner) = (unique(), unique());
    let first = Claim::new(id(key), OwnerToken::new(owner), FINGERPRINT);
    claimed(&store, &first).await;
    let mut other = Command::new(env::current_exe().unwrap())
        .args(["--exact", "second_process", "--include-ignored"])
        .env("FIRST_CLAIM", format!("{} {key} {owner}", server.url()))
        .spawn()
        .unwrap();
    ended(&store, &rival(&first)).await;
    assert!(is_done(&store.claim(&rival(&first)).await));
    assert!(other.wait().unwrap().success());
}
