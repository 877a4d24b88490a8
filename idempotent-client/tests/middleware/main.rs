//! The middleware over sockets.

#![allow(clippy::unwrap_used)]

mod keys;
mod outcomes;
mod server;

use std::time::{Duration, Instant, SystemTime};

use idempotent_client::{
    ErrorExt as _, IdempotencyMiddleware, Operation, OperationError, ResponseExt as _, Retry,
    RetryPolicy,
};
use reqwest::{Method, Response, redirect};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};

use crate::server::{Event, Server, answer, problem};

/// Waits are short, so that the tests are.
fn policy() -> RetryPolicy {
    let interval = Duration::from_millis(1);
    RetryPolicy::default()
        .max_attempts(4)
        .intervals(interval, interval)
}

fn client_of(retry: Retry) -> ClientWithMiddleware {
    ClientBuilder::new(reqwest::Client::new())
        .with(IdempotencyMiddleware::new(retry))
        .build()
}

fn client() -> ClientWithMiddleware {
    client_of(Retry::new(policy()))
}

async fn post(server: &Server) -> reqwest_middleware::Result<Response> {
    let request = client().post(server.url("/payments")).body("a payment");
    request.send().await
}

fn paid() -> Event {
    answer(201, &["x-thing: 1"], "paid")
}

fn replayed() -> Event {
    answer(201, &["idempotency-replayed: true"], "paid")
}

/// Checks that the same was sent this many times.
fn assert_sent(server: &Server, times: usize) {
    let received = server.received();
    assert_eq!(received.len(), times);
    for request in &received {
        assert_eq!(*request, received[0], "each attempt is the same request");
        assert_eq!(request.body, "a payment");
    }
}

#[tokio::test]
async fn each_operation_has_one_key_in_all_its_attempts() {
    let server = Server::start([Event::HangUp, answer(503, &[], ""), replayed(), paid()]).await;
    let response = post(&server).await.unwrap();
    let attempts = response.idempotency().unwrap().clone();
    assert_eq!(attempts.count(), 3);
    assert!(attempts.is_replay() && attempts.is_certain());
    assert_eq!(response.text().await.unwrap(), "paid");
    assert_sent(&server, 3);
    assert_eq!(server.received()[0].key(), attempts.key().as_str());
    assert_eq!(attempts.key().as_str().len(), 36, "a UUID");

    let other = post(&server).await.unwrap();
    let other = other.idempotency().unwrap();
    assert_eq!(other.count(), 1);
    assert!(!other.is_replay());
    assert_ne!(other.key(), attempts.key());
}

#[tokio::test]
async fn the_response_is_what_the_server_sent() {
    let server = Server::start([paid()]).await;
    let response = post(&server).await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["x-thing"], "1");
    assert_eq!(response.url().as_str(), server.url("/payments"));
    assert_eq!(response.content_length(), Some(4));
    assert!(response.remote_addr().is_some());
    assert_eq!(response.text().await.unwrap(), "paid");
}

#[tokio::test]
async fn what_may_be_sent_again_is() {
    for event in [
        Event::HangUp,
        problem(409, "in-flight"),
        answer(408, &[], ""),
        answer(429, &[], ""),
        answer(502, &[], "<html>"),
        answer(503, &["retry-after: 0"], ""),
        answer(504, &[], ""),
    ] {
        let server = Server::start([event.clone(), event.clone(), paid()]).await;
        let response = post(&server).await.unwrap();
        assert_eq!(response.status(), 201, "{event:?}");
        assert_sent(&server, 3);
    }
}

#[tokio::test]
async fn what_may_not_is_not() {
    let recorded = ["idempotency-replayed: true"];
    for event in [
        answer(400, &[], ""),
        answer(401, &[], ""),
        answer(422, &[], ""),
        answer(409, &[], ""),
        answer(500, &[], ""),
        answer(500, &recorded, ""),
        answer(503, &recorded, ""),
        problem(409, "outcome-unknown"),
        problem(409, "response-not-kept"),
        problem(422, "key-reused"),
    ] {
        let server = Server::start([event.clone(), paid()]).await;
        let response = post(&server).await.unwrap();
        assert_ne!(response.status(), 201, "{event:?}");
        assert_eq!(response.idempotency().unwrap().count(), 1);
        assert_sent(&server, 1);
    }
}

#[tokio::test]
async fn a_response_that_breaks_off_is_asked_for_again() {
    let short = "HTTP/1.1 201 Created\r\ncontent-length: 100\r\n\r\nhalf of it";
    let chunked = "HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    for broken in [short, chunked] {
        let server = Server::start([Event::Answer(broken.into()), replayed()]).await;
        let response = post(&server).await.unwrap();
        assert_eq!(response.idempotency().unwrap().count(), 2);
        assert_eq!(response.text().await.unwrap(), "paid");
        assert_sent(&server, 2);
    }
}

#[tokio::test]
async fn a_response_that_is_too_large_or_a_stream_is_not_held() {
    let chunked = "HTTP/1.1 201 Created\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
                   8\r\n12345678\r\n8\r\nabcdefgh\r\n0\r\n\r\n";
    let middleware = IdempotencyMiddleware::new(Retry::new(policy())).max_response(4);
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(middleware)
        .build();
    let sized = answer(201, &[], "12345678abcdefgh");
    let server = Server::start([Event::Answer(chunked.to_owned()), sized]).await;
    for _ in 0..2 {
        let response = client.post(server.url("/")).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "12345678abcdefgh");
    }

    // It says something and goes on for ever; what it says is passed on.
    let events = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\r\n\r\n";
    let server = Server::start([Event::Answer(events.to_owned())]).await;
    let mut response = client.post(server.url("/")).send().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "data: 1\r\n\r\n");
}

#[tokio::test]
async fn a_silent_server_is_asked_again() {
    let policy = policy().attempt_timeout(Duration::from_millis(100));
    for retry in [Retry::new(policy), Retry::new(self::policy())] {
        let server = Server::start([Event::Silence, replayed()]).await;
        let reqwest = reqwest::Client::builder().timeout(Duration::from_millis(300));
        let client = ClientBuilder::new(reqwest.build().unwrap())
            .with(IdempotencyMiddleware::new(retry))
            .build();
        let response = client.post(server.url("/")).send().await.unwrap();
        assert_eq!(response.idempotency().unwrap().count(), 2);
    }
}

#[tokio::test]
async fn retry_after_is_obeyed_in_seconds_and_as_a_date() {
    let server = Server::start([answer(429, &["retry-after: 1"], ""), paid()]).await;
    let start = Instant::now();
    assert_eq!(post(&server).await.unwrap().status(), 201);
    assert!(start.elapsed() >= Duration::from_secs(1));

    let then = SystemTime::now() + Duration::from_secs(2);
    let date = httpdate(then);
    let server = Server::start([answer(503, &[&date], ""), paid()]).await;
    assert_eq!(post(&server).await.unwrap().status(), 201);
    // A date has whole seconds.
    assert!(SystemTime::now() + Duration::from_secs(1) >= then);
}

fn httpdate(time: SystemTime) -> String {
    format!("retry-after: {}", httpdate::fmt_http_date(time))
}

#[tokio::test]
async fn an_error_says_what_became_of_the_operation() {
    let server = Server::start(vec![Event::HangUp; 4]).await;
    let secret = client().post(server.url("/payments?token=secret"));
    let error = secret.send().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("(POST /payments)"), "{text}");
    assert!(
        text.contains("uncertain outcome after 4 attempts"),
        "{text}"
    );
    let told = error.idempotency().unwrap();
    assert!(told.is_uncertain());
    let key = told.key().unwrap();
    assert_eq!(key.as_str(), server.received()[3].key());
    for secret in ["secret", key.as_str()] {
        assert!(!format!("{error:?} {error}").contains(secret), "{error:?}");
    }

    // Nobody listens there.
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let error = client().post(format!("http://{address}/")).send().await;
    let error = error.unwrap_err();
    let attempts = error.idempotency().unwrap().attempts().unwrap();
    assert_eq!(attempts.count(), 4);

    let error = client().post("gopher://127.0.0.1/").send().await;
    let error = error.unwrap_err();
    assert!(!error.idempotency().unwrap().is_uncertain(), "{error}");
    assert!(error.to_string().contains("nothing was done"), "{error}");
}

#[tokio::test]
async fn a_body_that_can_be_read_once_is_refused_before_anything_is_sent() {
    let server = Server::start([]).await;
    let stream = tokio::fs::File::open("Cargo.toml").await;
    let body = reqwest::Body::from(stream.unwrap());
    let error = client().post(server.url("/")).body(body).send().await;
    let error = error.unwrap_err();
    let told = error.idempotency();
    assert!(matches!(
        told,
        Some(OperationError::BodyNotRepeatable { .. })
    ));
    assert!(error.to_string().contains("Give the body as bytes"));
    assert_eq!(server.received(), []);
}

#[tokio::test]
async fn other_methods_are_left_alone_unless_asked_for() {
    let server = Server::start([answer(503, &[], ""), answer(503, &[], "")]).await;
    for method in [Method::GET, Method::PUT] {
        let response = client().request(method, server.url("/")).send().await;
        assert!(response.unwrap().idempotency().is_none());
    }
    let received = server.received();
    assert_eq!(received.len(), 2);
    assert!(
        received
            .iter()
            .all(|request| request.header("idempotency-key").is_none())
    );

    server.add([answer(503, &[], ""), paid(), answer(503, &[], ""), paid()]);
    let asked = client().delete(server.url("/"));
    let response = asked.with_extension(Operation::new()).send().await.unwrap();
    assert_eq!(response.idempotency().unwrap().count(), 2);
    let with_put = IdempotencyMiddleware::new(Retry::new(policy())).method(Method::PUT);
    let client = ClientBuilder::new(reqwest::Client::new()).with(with_put);
    let response = client.build().put(server.url("/")).send().await.unwrap();
    assert_eq!(response.idempotency().unwrap().count(), 2);
}

#[tokio::test]
async fn what_is_elsewhere_is_no_certain_outcome_unless_it_is_a_replay() {
    let login = |server: &Server| {
        let location = format!("location: {}", server.url("/login"));
        [answer(302, &[&location], ""), answer(200, &[], "log in")]
    };
    let server = Server::start([]).await;
    server.add([Event::HangUp]);
    server.add(login(&server));
    let response = post(&server).await.unwrap();
    assert_eq!(response.status(), 200);
    let attempts = response.idempotency().unwrap();
    assert!(!attempts.is_certain() && attempts.is_key_kept());

    // Nor is it if nothing was lost before.
    server.add(login(&server));
    let response = post(&server).await.unwrap();
    let attempts = response.idempotency().unwrap();
    assert_eq!((response.status().as_u16(), attempts.count()), (200, 1));
    assert!(!attempts.is_certain() && attempts.is_key_kept());

    for (status, is_certain) in [(201, true), (404, true), (500, false)] {
        let location = format!("location: {}", server.url("/v2"));
        let replay = answer(status, &["idempotency-replayed: true"], "");
        server.add([answer(307, &[&location], ""), replay]);
        let response = post(&server).await.unwrap();
        let attempts = response.idempotency().unwrap();
        assert_eq!(attempts.is_certain(), is_certain, "{status}");
    }

    // What reqwest itself refuses to follow is not repeated.
    let client = reqwest::Client::builder().redirect(redirect::Policy::limited(0));
    let client = ClientBuilder::new(client.build().unwrap())
        .with(IdempotencyMiddleware::new(Retry::new(policy())))
        .build();
    server.add(login(&server));
    let error = client.post(server.url("/")).send().await.unwrap_err();
    let attempts = error.idempotency().unwrap().attempts().unwrap();
    assert_eq!(attempts.count(), 1);
    assert!(!attempts.is_certain());
}
