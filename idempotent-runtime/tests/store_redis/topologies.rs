//! Clusters, and masters that sentinels name.

use std::time::Duration;

use idempotent_runtime::{
    Claim, RedisStore, Store as _,
    store::{
        StoreError,
        contract::{Harness, check},
    },
};
use tokio::time::Instant;

use crate::{
    Redis, SOON, a_waiter_is_woken_at_once, claimed, completed, fresh, is_done, key, response,
    rival,
    servers::{self, Server},
    settle,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server in the path"]
async fn a_cluster_keeps_the_contract() {
    let nodes = servers::cluster(3).await;
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
    let mut nodes = servers::cluster(3).await;
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

#[tokio::test]
#[ignore = "needs redis-server in the path"]
async fn in_a_cluster_a_waiter_is_woken_by_another_store() {
    let nodes = servers::cluster(3).await;
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
