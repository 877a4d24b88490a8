//! Writes that count when replicas have them.

use std::time::Duration;

use idempotent_runtime::{
    RedisStore, Store as _,
    store::{Fence, StoreError},
};
use tokio::time::{Instant, timeout};

use crate::{
    SOON, claimed, completed, ended, fresh, key, response, rival, servers::Server, settle,
};

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
