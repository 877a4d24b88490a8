//! What clients can see: when a record expires, what a browser of another origin may read, and
//! problems in the form that they accept.

use std::time::Duration;

use idempotent_runtime::{
    CORS_ALLOW_HEADERS, CORS_EXPOSE_HEADERS, Reconciled, Scope, StoredResponse,
};
use idempotent_tests::{App, Plan, Response, Setting, both, eventually, every, hush};

async fn dated(setting: Setting) -> App {
    let setup = setting.setup();
    setup
        .configure(|builder| builder.expires_header(true))
        .start()
        .await
}

/// How many seconds after now the date is.
fn seconds_from_now(response: &Response) -> u64 {
    let [date] = &response.all("idempotency-expires")[..] else {
        panic!("one date: {response:?}");
    };
    let date = httpdate::parse_http_date(std::str::from_utf8(date).unwrap()).unwrap();
    let ahead = date.duration_since(std::time::SystemTime::now()).unwrap();
    (ahead + Duration::from_secs(1)).as_secs()
}

every! {
    async fn first_responses_and_replays_say_when_the_record_expires(setting: Setting) {
        let app = dated(setting).await;
        for (path, ttl) in [("/pay", 24 * 3600), ("/ttl/hour", 3600)] {
            let first = app.post(path).key("k").send().await;
            first.assert_first(201);
            let ahead = seconds_from_now(&first);
            assert!(ahead <= ttl && ahead + 60 > ttl, "{ahead}");
            for _ in 0..2 {
                // The very same date, to the second.
                app.post(path).key("k").send().await.assert_replay_of(&first);
            }
        }
        // A committed response, whatever the handler returns afterwards; a panic has no response.
        let plan = Plan { return_committed: true, ..Plan::commit(202, "committed") };
        let committed = app.post("/pay").key("c").plan(&plan).send().await;
        seconds_from_now(&committed);
        app.post("/pay").key("c").plan(&plan).send().await.assert_replay_of(&committed);
        let other = app.post("/pay").key("o").plan(&Plan::commit(202, "committed")).send().await;
        let replay = app.post("/pay").key("o").send().await;
        assert_eq!(other.all("idempotency-expires"), replay.all("idempotency-expires"));
        // What is not recorded has no date.
        let released = app.post("/pay").key("r").plan(&Plan::status(503)).send().await;
        assert_eq!(released.header("idempotency-expires"), None);
        let keyless = app.post("/key/optional").send().await;
        assert_eq!(keyless.header("idempotency-expires"), None);
    }
}

both! {
    async fn nothing_is_said_unless_it_is_on(framework: Framework) {
        let app = framework.start().await;
        let first = app.post("/pay").key("k").send().await;
        assert_eq!(first.header("idempotency-expires"), None);
        let retry = app.post("/pay").key("k").send().await;
        assert_eq!(retry.header("idempotency-expires"), None);
    }

    async fn an_outcome_that_was_found_out_is_dated_too(framework: Framework) {
        let setup = framework.setup().configure(|builder| {
            builder
                .expires_header(true)
                .reconcile(|_| async { Reconciled::Done(StoredResponse::new(200, &[], b"found")) })
        });
        let mut app = setup.start().await;
        for by_hand in [false, true] {
            let key = hush::marked(&format!("{by_hand}"));
            let (entries, lost) = (app.world.entries(), app.store.abandoned());
            let request = app.post("/lost/refuse").key(&key).plan(&Plan::gate("never"));
            let _connection = request.open().await;
            app.world.entered(entries + 1).await;
            app.restart().await;
            eventually("the run has ended", || app.store.abandoned() > lost).await;
            if by_hand {
                let response = StoredResponse::new(200, &[], b"found");
                let (operation, global) = ("POST /lost/refuse", Scope::global());
                let done = app.idempotency.complete_with(operation, &global, &*key, &response);
                done.await.unwrap();
            }
            let first = app.post("/lost/refuse").key(&key).send().await;
            first.assert_replay(200);
            assert!(seconds_from_now(&first) <= 3600);
            assert_eq!(app.post("/lost/refuse").key(&key).send().await.headers.len(), first.headers.len());
        }
    }

    async fn a_browser_of_another_origin_may_send_keys_and_read_what_it_needs(framework: Framework) {
        let app = framework.setup().cors().start().await;
        let preflight = app
            .request("OPTIONS", "/pay")
            .header("origin", "https://shop.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,idempotency-key")
            .send()
            .await;
        assert!((200..300).contains(&preflight.status), "{preflight:?}");
        assert_names(&preflight, "access-control-allow-headers", &CORS_ALLOW_HEADERS);
        assert_eq!(app.world.entries(), 0);
        let request = app
            .post("/pay")
            .header("origin", "https://shop.example")
            .key("k");
        let responses = [
            request.send().await,
            request.send().await,
            request.clone().body("other").send().await,
        ];
        assert_eq!(responses[1].header("idempotency-replayed"), Some(&b"true"[..]));
        responses[2].assert_problem(422, "key-reused");
        for response in responses {
            let origin = response.header("access-control-allow-origin");
            assert_eq!(origin, Some(&b"https://shop.example"[..]));
            assert_names(&response, "access-control-expose-headers", &CORS_EXPOSE_HEADERS);
        }
    }

    async fn problems_come_in_the_form_that_is_accepted(framework: Framework) {
        let app = framework.start().await;
        app.post("/pay").key("used").send().await.assert_first(201);
        let refused = async |accept: &str| {
            let with = |request: idempotent_tests::Request| request.header("accept", accept);
            [
                with(app.post("/pay")).send().await,
                with(app.post("/pay").key("\"")).send().await,
                with(app.post("/pay").key("used").body("other")).send().await,
                with(app.post("/scope/user").key("k")).send().await,
            ]
        };
        for (accept, content_type) in [
            ("*/*", "application/problem+json"),
            ("text/html, */*;q=0.8", "application/problem+json"),
            ("application/json", "application/json"),
            ("application/json;q=0.9, text/plain;q=0.8", "application/json"),
            ("application/json, text/plain, */*", "application/problem+json"),
            ("text/plain", "text/plain; charset=utf-8"),
            ("image/png", "application/problem+json"),
        ] {
            let answers = refused(accept).await;
            let codes = ["key-missing", "key-invalid", "key-reused", "caller-unknown"];
            for ((answer, code), status) in answers.iter().zip(codes).zip([400, 400, 422, 401]) {
                assert_eq!(answer.status, status, "{accept}");
                let its = answer.header("content-type").map(String::from_utf8_lossy);
                assert_eq!(its.as_deref(), Some(content_type), "{accept}");
                if content_type.starts_with("text/") {
                    assert!(answer.text().contains(&format!("({code})")), "{}", answer.text());
                } else {
                    assert_eq!(answer.json()["code"], code);
                }
            }
        }
        // Also of those that come while a claim is asked for, and with their headers.
        let running = app.post("/pay").key("k").plan(&Plan::gate("go")).open().await;
        app.world.entered(2).await;
        let refused = app.post("/pay").key("k").header("accept", "text/plain").send().await;
        assert_eq!((refused.status, refused.header("retry-after")), (409, Some(&b"1"[..])));
        assert!(refused.text().contains("(in-flight)"), "{}", refused.text());
        app.world.open("go");
        drop(running);
        let app = framework.setup().without_runtime().start().await;
        let refused = app.post("/pay").header("accept", "application/json").send().await;
        assert_eq!(refused.status, 500);
        assert_eq!(refused.header("content-type"), Some(&b"application/json"[..]));
    }
}

/// Checks that a header has all these names, in whatever order and case.
fn assert_names(response: &Response, header: &str, names: &[&str]) {
    let given = response.all(header).join(&b","[..]);
    let given = String::from_utf8(given).unwrap().to_ascii_lowercase();
    let given: Vec<&str> = given.split(',').map(str::trim).collect();
    for name in names {
        assert!(given.contains(name), "{header} has {name}: {given:?}");
    }
}
