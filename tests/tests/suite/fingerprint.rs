//! §1 and §3, and the argument `fingerprint`: what a retry must repeat.

use idempotent_runtime::Outcome;
use idempotent_tests::{Plan, Request, both, every};
use serde_json::json;

fn form(request: Request, boundary: &str, quoted: bool, value: &str) -> Request {
    let content_type = if quoted {
        format!("multipart/form-data; boundary=\"{boundary}\"")
    } else {
        format!("multipart/form-data; boundary={boundary}")
    };
    let body = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"amount\"\r\n\r\n{value}\r\n--{boundary}\r\ncontent-disposition: form-data; name=\"note\"\r\n\r\nhello\r\n--{boundary}--\r\n"
    );
    request.header("content-type", content_type).body(body)
}

every! {
    async fn sec3_a_key_with_another_body_is_refused(setting: Setting) {
        let app = setting.start().await;
        let first = app.post("/pay").key("k").body("one").send().await;
        first.assert_first(201);
        for other in ["two", "One", "one ", "", "onf", "one\n"] {
            let response = app.post("/pay").key("k").body(other).send().await;
            response.assert_problem(422, "key-reused");
        }
        assert_eq!(app.world.effects(), 1);
        assert_eq!(app.events.count(Outcome::KeyReused), 6);
        // The record is as it was.
        app.post("/pay")
            .key("k")
            .body("one")
            .send()
            .await
            .assert_replay_of(&first);
    }

    async fn sec1_the_query_is_part_of_the_fingerprint(setting: Setting) {
        let app = setting.start().await;
        app.post("/pay?amount=1")
            .key("k")
            .body("one")
            .send()
            .await
            .assert_first(201);
        for target in [
            "/pay?amount=2",
            "/pay",
            "/pay?",
            "/pay?amount=1&amount=1",
            "/pay?Amount=1",
        ] {
            let response = app.post(target).key("k").body("one").send().await;
            response.assert_problem(422, "key-reused");
        }
        assert_eq!(app.world.effects(), 1);
    }

    async fn sec1_no_byte_can_be_shifted_from_the_query_into_the_body(setting: Setting) {
        let app = setting.start().await;
        app.post("/pay?a=b")
            .key("k")
            .body("c")
            .send()
            .await
            .assert_first(201);
        app.post("/pay?a=")
            .key("k")
            .body("bc")
            .send()
            .await
            .assert_problem(422, "key-reused");
        app.post("/pay?a=bc")
            .key("k")
            .body("")
            .send()
            .await
            .assert_problem(422, "key-reused");
    }

    async fn sec1_headers_are_not_part_of_the_fingerprint(setting: Setting) {
        let app = setting.start().await;
        let first = app
            .post("/pay")
            .key("k")
            .header("content-type", "text/plain")
            .header("x-request-id", "1")
            .body("one")
            .send()
            .await;
        let retry = app
            .post("/pay")
            .key("k")
            .header("content-type", "application/octet-stream")
            .header("x-request-id", "2")
            .header("authorization", "Bearer fresh")
            .header(
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            )
            .body("one")
            .send()
            .await;
        retry.assert_replay_of(&first);
    }

    async fn sec1_how_a_body_is_framed_does_not_count(setting: Setting) {
        let app = setting.start().await;
        let first = app.post("/pay").key("k").body("one and two").send().await;
        first.assert_first(201);
        let chunked = app
            .post("/pay")
            .key("k")
            .chunked(&[b"one ", b"and", b" two"]);
        chunked.send().await.assert_replay_of(&first);
    }

    async fn sec1_any_bytes_can_be_a_body(setting: Setting) {
        let app = setting.start().await;
        let all: Vec<u8> = (0..=255).collect();
        let echo = Plan {
            echo: true,
            ..Plan::default()
        };
        let first = app
            .post("/pay")
            .key("k")
            .plan(&echo)
            .body(&all)
            .send()
            .await;
        first.assert_first(201);
        assert_eq!(first.body, all);
        app.post("/pay")
            .key("k")
            .body(&all)
            .send()
            .await
            .assert_replay_of(&first);
        let mut other = all;
        other[255] = 0;
        app.post("/pay")
            .key("k")
            .body(other)
            .send()
            .await
            .assert_problem(422, "key-reused");
    }

    async fn sec1_the_boundary_of_a_form_is_not_part_of_the_fingerprint(setting: Setting) {
        let app = setting.start().await;
        let pay = || app.post("/pay").key("k");
        let first = form(pay(), "----browser-1234", false, "1").send().await;
        first.assert_first(201);
        let retry = form(pay(), "----browser-98765", false, "1").send().await;
        retry.assert_replay_of(&first);
        let retry = form(pay(), "x", true, "1").send().await;
        retry.assert_replay_of(&first);
        let other = form(pay(), "----browser-1234", false, "2").send().await;
        other.assert_problem(422, "key-reused");
        assert_eq!(app.world.effects(), 1);
    }

    async fn sec3_a_body_that_no_extractor_takes_does_not_count(setting: Setting) {
        let app = setting.start().await;
        let first = app.post("/no-body").key("k").body("one").send().await;
        first.assert_first(201);
        app.post("/no-body")
            .key("k")
            .body("two")
            .send()
            .await
            .assert_replay_of(&first);
        app.post("/no-body")
            .key("k")
            .send()
            .await
            .assert_replay_of(&first);
        app.post("/no-body?q")
            .key("k")
            .send()
            .await
            .assert_problem(422, "key-reused");
    }

    async fn sec3_another_request_is_told_so_while_the_first_still_runs(setting: Setting) {
        let app = setting.start().await;
        for path in ["/pay", "/wait/long"] {
            let mut running = app
                .post(path)
                .key("k")
                .body("one")
                .plan(&Plan::gate(path))
                .open()
                .await;
            app.world.entered(app.world.effects() + 1).await;
            // Before 409, and without a wait.
            let other = app.post(path).key("k").body("two").send().await;
            other.assert_problem(422, "key-reused");
            assert_eq!(other.header("retry-after"), None);
            app.world.open(path);
            running.response().await.assert_first(201);
        }
    }

    async fn sec3_another_request_is_told_so_when_the_response_was_not_kept(setting: Setting) {
        let app = setting.start().await;
        let large = Plan::body(vec![b'x'; 2000]);
        app.post("/small")
            .key("k")
            .body("one")
            .plan(&large)
            .send()
            .await
            .assert_first(201);
        let other = app.post("/small").key("k").body("two").send().await;
        let document = other.assert_problem(422, "key-reused");
        assert!(document.get("originalStatus").is_none());
        app.post("/small")
            .key("k")
            .body("one")
            .send()
            .await
            .assert_problem(409, "response-not-kept");
    }

    async fn sec10_with_no_fingerprint_whatever_comes_with_the_key_is_a_retry(
        setting: Setting,
    ) {
        let app = setting.start().await;
        let first = app
            .post("/fingerprint/none")
            .key("k")
            .body("one")
            .send()
            .await;
        first.assert_first(201);
        for (target, body) in [("/fingerprint/none", "two"), ("/fingerprint/none?q", "")] {
            app.post(target)
                .key("k")
                .body(body)
                .send()
                .await
                .assert_replay_of(&first);
        }
        assert_eq!(app.world.effects(), 1);
    }

    async fn sec10_an_expression_says_what_counts(setting: Setting) {
        let app = setting.start().await;
        let pay = |amount: i64, id: &str| {
            let body = json!({"amount": amount, "id": id});
            app.post("/fingerprint/expression").key("k").json(&body)
        };
        let first = pay(100, "first attempt").send().await;
        first.assert_first(201);
        pay(100, "second attempt")
            .send()
            .await
            .assert_replay_of(&first);
        pay(101, "first attempt")
            .send()
            .await
            .assert_problem(422, "key-reused");
        assert_eq!(app.world.effects(), 1);
    }
}

both! {
    async fn sec10_an_expression_that_cannot_be_serialised_is_an_error_of_the_setup(
        framework: Framework,
    ) {
        let app = framework.start().await;
        let response = app
            .post("/fingerprint/unserialisable")
            .key("k")
            .send()
            .await;
        response.assert_problem(500, "misconfigured");
        assert_eq!(app.world.entries(), 0);
        assert_eq!(app.store.memory().entries(), 0);
    }
}
