//! Several stores and processes on one server.

use std::{env, process::Command, time::Duration};

use idempotent_runtime::{
    Claim, OnLost, OwnerToken, RedisStore, Store as _,
    protocol::Found,
    store::{ClaimAnswer, Fence, StoreError},
};
use tokio::time::sleep;

use crate::{
    FINGERPRINT, SOON, a_waiter_is_woken_at_once, claimed, completed, ended, fresh, id, is_done,
    is_running, key, rival, servers::Server, unique,
};

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
        .args(["--exact", "sharing::second_process", "--include-ignored"])
        .env("FIRST_CLAIM", format!("{} {key} {owner}", server.url()))
        .spawn()
        .unwrap();
    ended(&store, &rival(&first)).await;
    assert!(is_done(&store.claim(&rival(&first)).await));
    assert!(other.wait().unwrap().success());
}
