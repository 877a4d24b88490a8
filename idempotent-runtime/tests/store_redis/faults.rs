//! Servers that are away, slow, full, evicting, or hold what cannot be read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use idempotent_runtime::{
    RedisStore, Store as _,
    store::{Fence, StoreError},
};
use tokio::time::{Instant, sleep};

use crate::{
    a_waiter_is_woken_at_once, claimed, completed, ended, fresh, is_done, is_running, key,
    response, rival, servers::Server, settle,
};

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

#[tokio::test]
#[ignore = "needs redis-server in the path"]
async fn a_time_limit_may_be_endless() {
    let server = Server::start(&[]);
    let store = server.store_within(Duration::MAX).await;
    let first = fresh();
    claimed(&store, &first).await;
    let waiter = rival(&first);
    tokio::join!(completed(&store, &first), ended(&store, &waiter));
    let replicas = RedisStore::builder().wait_for_replicas(1, Duration::MAX);
    replicas.connect(server.url()).await.unwrap();
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
        start.elapsed() < Duration::from_secs(15),
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
