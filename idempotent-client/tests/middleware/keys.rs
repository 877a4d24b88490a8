//! Whose key it is, and how long.

use std::{path::Path, time::Duration};

use idempotent_client::{
    ErrorExt as _, FileKeyStore, IdempotencyKey, KeyStore as _, MemoryKeyStore, Operation,
    OperationError, ResponseExt as _, Retry,
};
use reqwest_middleware::{ClientWithMiddleware, RequestBuilder};

use crate::{
    client, client_of, policy,
    server::{Event, Received, Server, answer},
};

fn pay(client: &ClientWithMiddleware, server: &Server) -> RequestBuilder {
    client
        .post(server.url("/payments"))
        .body("a payment")
        .with_extension(Operation::named("invoice-4711"))
}

async fn client_in(folder: &Path) -> (ClientWithMiddleware, FileKeyStore) {
    let keys = FileKeyStore::open(folder.join("keys.json")).await.unwrap();
    let retry = Retry::new(policy()).key_store(keys.clone());
    (client_of(retry), keys)
}

#[tokio::test]
async fn the_callers_own_key_is_sent() {
    let server = Server::start(vec![answer(201, &[], ""); 4]).await;
    let own = IdempotencyKey::new("own-key").unwrap();
    let with_key = client().post(server.url("/"));
    with_key
        .with_extension(Operation::with_key(own))
        .send()
        .await
        .unwrap();
    for header in ["own-key", "\"own-key\""] {
        let with_header = client().post(server.url("/"));
        let sent = with_header.header("Idempotency-Key", header).send().await;
        let attempts = sent.unwrap();
        let attempts = attempts.idempotency().unwrap();
        assert_eq!(attempts.key().as_str(), "own-key");
    }
    let received = server.received();
    let keys: Vec<_> = received.iter().map(Received::key).collect();
    assert_eq!(keys, ["own-key", "own-key", "\"own-key\""]);
}

#[tokio::test]
async fn two_keys_or_a_bad_one_are_refused_before_anything_is_sent() {
    let server = Server::start([]).await;
    let request = || client().post(server.url("/"));
    let several = [
        request()
            .header("Idempotency-Key", "one")
            .header("Idempotency-Key", "two"),
        request()
            .header("Idempotency-Key", "one")
            .with_extension(Operation::new()),
    ];
    for request in several {
        let error = request.send().await.unwrap_err();
        let told = error.idempotency();
        assert!(
            matches!(told, Some(OperationError::SeveralKeys { .. })),
            "{error}"
        );
    }
    let error = request().header("Idempotency-Key", "a b").send().await;
    let error = error.unwrap_err();
    let told = error.idempotency();
    assert!(
        matches!(told, Some(OperationError::InvalidKey { .. })),
        "{error}"
    );
    assert_eq!(server.received(), []);
}

#[tokio::test]
async fn an_operation_is_resumed_by_its_name_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(vec![Event::HangUp; 4]).await;
    let (client, keys) = client_in(folder.path()).await;
    let error = pay(&client, &server).send().await.unwrap_err();
    assert!(error.to_string().contains("\"invoice-4711\""), "{error}");
    assert!(error.idempotency().unwrap().is_uncertain());
    drop((client, keys));

    // The token has expired meanwhile. That says nothing about yesterday's attempt.
    let (client, keys) = client_in(folder.path()).await;
    server.add([answer(401, &[], "")]);
    let response = pay(&client, &server).send().await.unwrap();
    assert!(!response.idempotency().unwrap().is_certain());
    drop((client, keys));

    // Also one that was done is the same operation, until it is forgotten.
    for _ in 0..2 {
        let (client, _keys) = client_in(folder.path()).await;
        server.add([answer(201, &["idempotency-replayed: true"], "")]);
        let response = pay(&client, &server).send().await.unwrap();
        let attempts = response.idempotency().unwrap();
        assert!(attempts.is_replay() && attempts.is_certain() && attempts.is_key_kept());
    }

    let (client, keys) = client_in(folder.path()).await;
    assert!(keys.forget("invoice-4711").await.unwrap());
    server.add([answer(201, &[], "")]);
    pay(&client, &server).send().await.unwrap();
    let received = server.received();
    assert_eq!(received.len(), 8);
    assert!(
        received[..7]
            .iter()
            .all(|request| request.key() == received[0].key())
    );
    assert_ne!(received[7].key(), received[0].key());
}

#[tokio::test]
async fn a_dropped_operation_keeps_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start([Event::Silence]).await;
    let (client, keys) = client_in(folder.path()).await;
    let dropped = tokio::spawn(pay(&client, &server).send());
    server.has_received(1).await;
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    server.add([answer(400, &[], ""), answer(201, &[], "")]);
    let response = pay(&client, &server).send().await.unwrap();
    assert!(response.idempotency().unwrap().is_key_kept());
    let response = pay(&client, &server).send().await.unwrap();
    assert!(response.idempotency().unwrap().is_certain());
    let received = server.received();
    assert!(
        received
            .iter()
            .all(|request| request.key() == received[0].key())
    );
    assert!(keys.forget("invoice-4711").await.unwrap());
}

#[tokio::test]
async fn tasks_that_run_the_same_operation_send_the_same_key() {
    let server = Server::start([Event::Silence, answer(201, &[], "")]).await;
    let keys = MemoryKeyStore::new();
    let client = client_of(Retry::new(policy()).key_store(keys.clone()));
    let slow = tokio::spawn(pay(&client, &server).send());
    server.has_received(1).await;
    // One ends, the other is out, and a third begins: it must not start over.
    let paid = pay(&client, &server).send().await.unwrap();
    assert!(paid.idempotency().unwrap().is_key_kept());
    server.add([answer(201, &["idempotency-replayed: true"], "")]);
    pay(&client, &server).send().await.unwrap();
    slow.abort();
    assert!(slow.await.unwrap_err().is_cancelled());
    // The slow one's caller does not know, and asks again.
    server.add([answer(201, &["idempotency-replayed: true"], "")]);
    let last = pay(&client, &server).send().await.unwrap();
    assert!(last.idempotency().unwrap().is_certain());
    let received = server.received();
    assert_eq!(received.len(), 4);
    assert!(
        received
            .iter()
            .all(|request| request.key() == received[0].key())
    );
}

#[tokio::test]
async fn a_stale_key_is_not_sent_and_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(vec![Event::HangUp; 4]).await;
    let (client, keys) = client_in(folder.path()).await;
    pay(&client, &server).send().await.unwrap_err();
    let retry = Retry::new(policy()).key_ttl(Duration::ZERO);
    let later = client_of(retry.key_store(keys.clone()));
    let error = pay(&later, &server).send().await.unwrap_err();
    assert!(error.idempotency().unwrap().is_uncertain());
    assert_eq!(server.received().len(), 4);
    assert!(keys.forget("invoice-4711").await.unwrap());
    server.add([answer(201, &[], "")]);
    pay(&client, &server).send().await.unwrap();
    let received = server.received();
    assert_ne!(received[4].key(), received[0].key());
}

#[tokio::test]
async fn nothing_is_sent_when_the_store_cannot_be_asked() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start([]).await;
    let (client, _keys) = client_in(folder.path()).await;
    std::fs::write(folder.path().join("keys.json"), "{").unwrap();
    let error = pay(&client, &server).send().await.unwrap_err();
    let text = format!(
        "{:#}",
        error.idempotency().map_or_else(String::new, |error| {
            let source = std::error::Error::source(error).unwrap();
            format!("{error}: {source}")
        })
    );
    assert!(text.contains("was not sent"), "{text}");
    assert!(text.contains("is damaged"), "{text}");
    assert_eq!(server.received(), []);
}
