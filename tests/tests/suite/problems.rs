//! §8: the errors that the framework itself answers with.

use std::time::Duration;

use idempotent_runtime::{MemoryStore, Outcome};
use idempotent_tests::{App, Fault, Framework, Plan, Response, Steered, Verb, both, every};

const BASE: &str = "https://api.example/problems/";
const DOCUMENTATION: &str = "https://api.example/idempotency";

/// A response with each of the problems.
async fn all(framework: Framework, documented: bool) -> Vec<(Response, u16, &'static str, bool)> {
    let start = |configure: fn(MemoryStore) -> Steered, entries: usize| {
        let mut setup = framework.setup().body_limit(100).store(|clock| {
            configure(
                MemoryStore::builder()
                    .clock(clock)
                    .max_entries(entries)
                    .build(),
            )
        });
        if documented {
            setup =
                setup.configure(|builder| builder.problem_base(BASE).documentation(DOCUMENTATION));
        }
        setup.start()
    };
    let app: App = start(Steered::new, 100).await;
    let full: App = start(Steered::new, 0).await;
    let mut all = Vec::new();

    all.push((app.post("/pay").send().await, 400, "key-missing", false));
    all.push((
        app.post("/pay").key("a b").send().await,
        400,
        "key-invalid",
        false,
    ));
    all.push((
        app.post("/scope/user").key("k").send().await,
        401,
        "caller-unknown",
        false,
    ));
    let mut running = app
        .post("/lost/refuse")
        .key("k")
        .plan(&Plan::gate("g"))
        .open()
        .await;
    app.world.entered(1).await;
    all.push((
        app.post("/lost/refuse").key("k").send().await,
        409,
        "in-flight",
        true,
    ));
    app.store.lose(&app.store.calls(Verb::Claim)[0].1);
    all.push((
        app.post("/lost/refuse").key("k").send().await,
        409,
        "outcome-unknown",
        false,
    ));
    app.world.open("g");
    running.head().await;
    let large = app
        .post("/small")
        .key("k")
        .plan(&Plan::body([b'x'; 2000]).header("location", "/1"));
    large.send().await.assert_first(201);
    all.push((large.send().await, 409, "response-not-kept", false));
    all.push((
        app.post("/pay").key("k").body([b'x'; 101]).send().await,
        413,
        "body-too-large",
        false,
    ));
    app.post("/pay")
        .key("k")
        .body("one")
        .send()
        .await
        .assert_first(201);
    all.push((
        app.post("/pay").key("k").body("two").send().await,
        422,
        "key-reused",
        false,
    ));
    all.push((
        app.post("/scope/unregistered").key("k").send().await,
        500,
        "misconfigured",
        false,
    ));
    app.store.fail(Verb::Claim, 1, Fault::Before);
    all.push((
        app.post("/pay").key("k").send().await,
        503,
        "store-unavailable",
        true,
    ));
    all.push((
        full.post("/pay").key("k").send().await,
        503,
        "store-full",
        true,
    ));
    assert_eq!(all.len(), 11);
    all
}

fn assert_document(response: &Response, status: u16, code: &str, retryable: bool, base: &str) {
    let document = response.assert_problem(status, code);
    assert_eq!(document["type"], format!("{base}{code}"));
    assert_eq!(document["retryable"], retryable, "{code}");
    for member in ["title", "detail"] {
        let text = document[member].as_str().unwrap();
        assert!(!text.is_empty(), "{code}: {member}");
    }
    let mut members: Vec<&str> = document
        .as_object()
        .unwrap()
        .keys()
        .map(|name| &name[..])
        .collect();
    members.sort_unstable();
    let mut expected = vec!["code", "detail", "retryable", "status", "title", "type"];
    if code == "response-not-kept" {
        expected.insert(2, "originalStatus");
        assert_eq!(document["originalStatus"], 201);
    }
    assert_eq!(members, expected);
    assert_eq!(
        response.header("retry-after").is_some(),
        retryable,
        "{code}"
    );
    if let Some(seconds) = response.header("retry-after") {
        let seconds: u64 = std::str::from_utf8(seconds).unwrap().parse().unwrap();
        assert!((1..=30).contains(&seconds));
    }
    assert_eq!(response.header("www-authenticate"), None);
    assert_eq!(
        response.header("location").is_some(),
        code == "response-not-kept"
    );
    assert_eq!(response.all("content-type").len(), 1);
}

every! {
    async fn sec8_a_documentation_address_adds_no_header_of_its_own(setting: Setting) {
        let setup = setting.setup();
        let app = setup
            .configure(|builder| builder.documentation("https://a\r\nx-injected: 1"))
            .start()
            .await;
        let response = app.post("/pay").send().await;
        response.assert_problem(400, "key-missing");
        let link = &b"<https://a%0D%0Ax-injected:%201>; rel=\"describedby\""[..];
        assert_eq!(response.header("link"), Some(link));
        assert_eq!(response.header("x-injected"), None);
    }

    async fn sec8_every_outcome_is_told_with_its_operation_and_the_same_hash(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/pay").key("k");
        request.send().await;
        request.send().await;
        request.clone().body("other").send().await;
        app.post("/pay").send().await;
        let events = app.events.all();
        let outcomes = [
            Outcome::Executed,
            Outcome::Replayed,
            Outcome::KeyReused,
            Outcome::KeyMissing,
        ];
        assert_eq!(app.events.outcomes(), outcomes);
        assert!(events.iter().all(|event| event.operation == "POST /pay"));
        let hash = events[0].record.clone().unwrap();
        assert_eq!(hash.len(), 12);
        assert!(hash.bytes().all(|digit| digit.is_ascii_hexdigit()));
        assert_eq!(events[1].record, Some(hash.clone()));
        assert_eq!(events[2].record, Some(hash));
        assert_eq!(events[3].record, None);
    }
}

both! {
    async fn sec8_every_problem_is_a_document(framework: Framework) {
        for (response, status, code, retryable) in all(framework, false).await {
            assert_document(
                &response,
                status,
                code,
                retryable,
                "urn:problem:idempotency:",
            );
            assert_eq!(response.header("link"), None, "{code}");
        }
    }

    async fn sec8_base_and_documentation_are_frameworks(framework: Framework) {
        let link = format!("<{DOCUMENTATION}>; rel=\"describedby\"");
        for (response, status, code, retryable) in all(framework, true).await {
            assert_document(&response, status, code, retryable, BASE);
            assert_eq!(response.all("link"), [link.as_bytes()], "{code}");
        }
    }

    async fn sec8_retry_after_tells_when_the_lease_ends(framework: Framework) {
        let app = framework.start().await;
        let mut running = app
            .post("/pay")
            .key("k")
            .plan(&Plan::gate("g"))
            .open()
            .await;
        app.world.entered(1).await;
        let retry = app.post("/pay").key("k");
        // The memory store has no leases; whoever runs there shows signs of life.
        app.clock.advance(Duration::from_secs(29));
        assert_eq!(retry.send().await.header("retry-after"), Some(&b"1"[..]));
        // Of 30 seconds.
        for (left, seconds) in [
            (30_000, "1"),
            (15_001, "1"),
            (15_000, "15"),
            (14_001, "15"),
            (1_001, "2"),
            (1_000, "1"),
            (1, "1"),
            (0, "1"),
        ] {
            app.store.say_lease_left(Duration::from_millis(left));
            let response = retry.send().await;
            response.assert_problem(409, "in-flight");
            assert_eq!(
                response.header("retry-after"),
                Some(seconds.as_bytes()),
                "{left}"
            );
        }
        app.world.open("g");
        running.response().await.assert_first(201);
    }
}
