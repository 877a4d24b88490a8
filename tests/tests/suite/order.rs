//! §3: one request, in order.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use idempotent_runtime::Outcome;
use idempotent_tests::{Connection, Framework, Plan, Verb, both, every, logs};
use serde_json::json;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

every! {
    async fn sec3_a_retry_is_a_replay(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/pay").key("k").body("one");
        let first = request.send().await;
        first.assert_first(201);
        assert_eq!(first.text(), "effect 1");
        for _ in 0..3 {
            request.send().await.assert_replay_of(&first);
        }
        assert_eq!(app.world.effects(), 1);
        let told = [
            Outcome::Executed,
            Outcome::Replayed,
            Outcome::Replayed,
            Outcome::Replayed,
        ];
        assert_eq!(app.events.outcomes(), told);
    }

    async fn sec3_a_replay_on_the_same_connection(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/pay").key("k").body("one");
        let mut connection = request.open().await;
        let first = connection.response().await;
        first.assert_first(201);
        connection.write(&request).await;
        connection.response().await.assert_replay_of(&first);
        // Both at once, one after the other.
        connection.write(&request).await;
        connection
            .write(&app.post("/pay").key("l").body("one"))
            .await;
        connection.response().await.assert_replay_of(&first);
        connection.response().await.assert_first(201);
    }

    async fn sec3_extractors_run_before_the_key_is_looked_at(setting: Setting) {
        let app = setting.start().await;
        let pay = || app.post("/json").json(&json!({"amount": 1}));
        assert_eq!(pay().send().await.status, 401);
        assert_eq!(pay().key("a b").send().await.status, 401);
        pay()
            .user("anna")
            .send()
            .await
            .assert_problem(400, "key-missing");
        pay()
            .user("anna")
            .key("a b")
            .send()
            .await
            .assert_problem(400, "key-invalid");
    }

    /// Who may no longer do it may no longer see what came of it.
    async fn sec3_a_replay_passes_the_extractors_again(setting: Setting) {
        let app = setting.start().await;
        let pay = || app.post("/json").key("k").json(&json!({"amount": 1}));
        let first = pay().user("anna").send().await;
        first.assert_first(201);
        for refused in [pay().send().await, pay().user("banned").send().await] {
            assert!(matches!(refused.status, 401 | 403));
            assert!(!refused.is_replay());
            assert_ne!(refused.body, first.body);
        }
        pay().user("anna").send().await.assert_replay_of(&first);
    }

    async fn sec3_a_running_operation_is_in_flight(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/pay").key("k").body("one");
        let mut running = request.clone().plan(&Plan::gate("g")).open().await;
        app.world.entered(1).await;
        assert_eq!(app.idempotency.running(), 1);
        let retry = request.send().await;
        let document = retry.assert_problem(409, "in-flight");
        assert_eq!(document["retryable"], true);
        assert_eq!(retry.header("retry-after"), Some(&b"1"[..]));
        app.world.open("g");
        let first = running.response().await;
        first.assert_first(201);
        request.send().await.assert_replay_of(&first);
        assert_eq!(app.world.effects(), 1);
        assert_eq!(app.idempotency.running(), 0);
        let told = [Outcome::InFlight, Outcome::Executed, Outcome::Replayed];
        assert_eq!(app.events.outcomes(), told);
    }

    /// As curl does it for a large body.
    async fn sec3_a_client_that_waits_for_leave_to_send_its_body(setting: Setting) {
        let app = setting.start().await;
        let request = app
            .post("/pay")
            .key("k")
            .header("expect", "100-continue")
            .body("one");
        let bytes = request.bytes();
        let mut responses = Vec::new();
        for _ in 0..2 {
            let mut connection = Connection::to(app.address()).await;
            connection.write_bytes(&bytes[..bytes.len() - 3]).await;
            assert_eq!(connection.head().await.status, 100);
            connection.write_bytes(b"one").await;
            responses.push(connection.response().await);
        }
        responses[0].assert_first(201);
        responses[1].assert_replay_of(&responses[0]);
    }
}

both! {
    async fn sec3_without_the_runtime_nothing_runs(framework: Framework) {
        let app = framework.setup().without_runtime().start().await;
        for (path, key) in [("/pay", "k"), ("/key/optional", "k"), ("/key/derived", "k")] {
            let response = app
                .post(path)
                .key(key)
                .user("anna")
                .body("one")
                .send()
                .await;
            response.assert_problem(500, "misconfigured");
            let response = app.post(path).user("anna").body("one").send().await;
            response.assert_problem(500, "misconfigured");
        }
        assert_eq!(app.world.entries(), 0);
        let log = logs::all();
        let line = log
            .lines()
            .find(|line| line.contains("has no Idempotency"))
            .expect("the log says what is missing");
        let mend = match framework {
            Framework::Axum => ".layer(idempotency.clone())",
            Framework::Actix => ".app_data(idempotency.clone())",
        };
        assert!(line.contains("ERROR") && line.contains(mend), "{line}");
    }

    async fn sec3_a_refusal_of_an_extractor_is_not_recorded(framework: Framework) {
        let app = framework.start().await;
        let json = |body: &str| {
            app.post("/json")
                .key("k")
                .header("content-type", "application/json")
                .body(body)
        };
        // Not known, not liked, not JSON, not the right JSON, not said to be JSON.
        let cases = [
            (json("{}"), 401),
            (json("{}").user("banned"), 403),
            (json("{").user("anna"), 400),
            (app.post("/json").key("k").user("anna").body("{}"), 415),
        ];
        for (request, status) in cases {
            for _ in 0..2 {
                let refused = request.send().await;
                if status == 415 {
                    assert!((400..=415).contains(&refused.status), "{}", refused.status);
                } else {
                    assert_eq!(refused.status, status, "{}", refused.text());
                }
                assert!(!refused.is_replay());
                let ours = Some(&b"application/problem+json"[..]);
                assert_ne!(refused.header("content-type"), ours);
            }
        }
        let refused = json(r#"{"amount": "much"}"#).user("anna").send().await;
        assert!((400..=422).contains(&refused.status));
        assert_eq!(app.world.entries(), 0);
        assert_eq!(app.store.memory().entries(), 0);
        assert_eq!(app.events.all(), []);
        // The key is free, for another body.
        let first = json(r#"{"amount": 2}"#).user("anna").send().await;
        first.assert_first(201);
        assert_eq!(app.world.effects(), 1);
    }

    async fn sec3_safe_methods_run_directly_and_are_never_recorded(framework: Framework) {
        let app = framework.start().await;
        let mut effects = 0;
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            for key in ["k", "k", "a b"] {
                let mut connection = app.request(method, "/pay").key(key).open().await;
                let response = connection.head().await;
                effects += 1;
                response.assert_first(201);
                assert_eq!(app.world.effects(), effects, "{method}");
            }
            app.request(method, "/scope/unregistered")
                .open()
                .await
                .head()
                .await
                .assert_first(201);
            effects += 1;
        }
        assert_eq!(app.store.memory().entries(), 0);
        assert_eq!(app.store.calls(Verb::Claim).len(), 0);
        assert_eq!(app.idempotency.unprotected(), 0);
        assert!(
            !app.world
                .notes()
                .iter()
                .any(|note| note.starts_with("protected true"))
        );
    }

    /// What an extractor sees with the attribute is what it sees without.
    async fn sec3_an_encoded_body_reaches_the_extractors_as_it_would(framework: Framework) {
        let app = framework.start().await;
        let sent = gzip(br#"{"amount": 7}"#);
        let echo = Plan {
            echo: true,
            ..Plan::default()
        };
        let request = |path: &str| {
            app.post(path)
                .key("k")
                .user("anna")
                .plan(&echo)
                .header("content-type", "application/json")
                .header("content-encoding", "gzip")
                .body(&sent)
        };
        let bare = request("/bare").send().await;
        let protected = request("/pay").send().await;
        protected.assert_first(201);
        assert_eq!(protected.body, bare.body);
        request("/pay").send().await.assert_replay_of(&protected);
        match framework {
            // axum's extractors know of no encodings.
            Framework::Axum => {
                assert_eq!(protected.body, sent);
                assert_eq!(request("/json").send().await.status, 400);
            }
            Framework::Actix => {
                assert_eq!(protected.body, br#"{"amount": 7}"#);
                let first = request("/json").send().await;
                first.assert_first(201);
                assert_eq!(first.text(), "7");
                request("/json").send().await.assert_replay_of(&first);
            }
        }
        let other = request("/pay").body(gzip(br#"{"amount": 8}"#)).send().await;
        other.assert_problem(422, "key-reused");
    }

    async fn sec3_a_body_that_breaks_off_claims_nothing(framework: Framework) {
        let app = framework.start().await;
        let request = app.post("/pay").key("k").body("one and two");
        let bytes = request.bytes();
        for reset in [false, true] {
            let mut connection = Connection::to(app.address()).await;
            connection.write_bytes(&bytes[..bytes.len() - 4]).await;
            if reset {
                connection.reset();
            } else {
                connection.half_close().await;
                assert!(connection.is_hung_up().await || app.world.entries() == 0);
            }
        }
        request.send().await.assert_first(201);
        assert_eq!(app.world.entries(), 1);
        assert_eq!(app.store.calls(Verb::Claim).len(), 1);
    }
}

/// Compiles, for what it returns is a response; and says so when it is called.
#[tokio::test]
async fn sec8_a_handler_of_axum_in_a_router_of_actix_is_misconfigured() {
    let app = Framework::Actix.start().await;
    let response = app.post("/of-axum").key("k").body("one").send().await;
    response.assert_problem(500, "misconfigured");
    assert_eq!(app.world.entries(), 0);
    assert_eq!(app.store.memory().entries(), 0);
    assert!(
        logs::all()
            .contains("returns a response of axum, and was mounted in a router of actix-web")
    );
}
