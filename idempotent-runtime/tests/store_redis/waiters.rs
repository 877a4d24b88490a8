//! Those who wait for a claim to end.

use std::time::Duration;

use idempotent_runtime::RedisStore;
use tokio::time::Instant;

use crate::{
    AT_ONCE, TRIES, a_waiter_is_woken_at_once, claimed, completed, ended, fresh, rival,
    servers::Server, settle,
};

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
async fn a_waiter_outlives_the_connection_that_it_hears_with() {
    let server = Server::start(&[]);
    let store = server.store().await;
    let mut quickest = Duration::MAX;
    for _ in 0..TRIES {
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
        quickest = quickest.min(end.elapsed());
        if quickest < AT_ONCE {
            break;
        }
    }
    assert!(quickest < AT_ONCE, "woken after {quickest:?}");
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
        };
        tokio::join!(end, ended(&store, &waiter));
    }
}
