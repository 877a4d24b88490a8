//! §8: nothing that was entrusted to the framework is told to others, nor to the log.

use idempotent_runtime::{
    Claim, Fingerprint, Idempotency, Key, MemoryStore, OwnerToken, RecordId, Scope, StoredResponse,
};
use idempotent_tests::{App, Fault, Panics, Plan, Verb, both, every, logs, metrics, soon};

const SECRETS: [&str; 6] = [
    "hush-key",
    "hush-user",
    "hush-body",
    "hush-response",
    "hush-header",
    "hush-query",
];

fn assert_no_secret(what: &str, text: &str) {
    for secret in SECRETS {
        if let Some(line) = text.lines().find(|line| line.contains(secret)) {
            panic!("{what} tells `{secret}`: {line}");
        }
    }
}

async fn every_way(app: &App) {
    let plan = Plan::body("hush-response").header("x-secret", "hush-header");
    let request = |path: &str, key: &str| {
        app.post(&format!("{path}?hush-query"))
            .user("hush-user")
            .header("x-device", "hush-user")
            .header("authorization", "Bearer hush-user")
            .key(key)
            .body("hush-body")
    };
    let mut problems = Vec::new();
    for path in [
        "/scope/user",
        "/scope/device",
        "/scope/bearer",
        "/scope/expression",
        "/pay",
        "/key/derived",
        "/wait/long",
        "/small",
    ] {
        let request = request(path, "hush-key").plan(&plan);
        let first = request.send().await;
        first.assert_first(201);
        request.send().await.assert_replay_of(&first);
        problems.push(request.body("other").send().await);
    }
    for malformed in [
        "\"hush-key",
        "hush-key and more",
        "hush-\tkey",
        "\"hush-key\\x\"",
        "\"hush-key\" hush-key",
        "hush-key\u{fc}",
    ] {
        problems.push(request("/pay", malformed).send().await);
    }
    problems.push(request("/pay", &"hush-key".repeat(40)).send().await);
    problems.push(request("/pay", "hush-key").key("hush-key").send().await);
    problems.push(request("/scope/unregistered", "hush-key").send().await);
    problems.push(app.post("/scope/user").key("hush-key").send().await);
    // While it runs.
    let running = request("/pay", "hush-key-2");
    let mut connection = running
        .clone()
        .plan(&Plan {
            gate: Some("g".to_owned()),
            ..plan.clone()
        })
        .open()
        .await;
    app.world.entered(app.world.effects() + 1).await;
    problems.push(running.send().await);
    assert_no_secret("the runtime's Debug", &format!("{:?}", app.idempotency));
    app.world.open("g");
    connection.response().await;
    // Too large.
    let large = request("/small", "hush-key-3").plan(&Plan::body("hush-response".repeat(200)));
    large.send().await;
    problems.push(large.send().await);
    // Panics, lost claims, and stores that fail in every way.
    let _ = request("/pay", "hush-key-4")
        .plan(&Plan::panics(Panics::After))
        .open()
        .await
        .is_hung_up()
        .await;
    for verb in [Verb::Claim, Verb::Complete, Verb::Release] {
        app.store.fail(verb, 1, Fault::Before);
        let status = if verb == Verb::Release { 503 } else { 201 };
        let plan = Plan {
            status: Some(status),
            ..plan.clone()
        };
        let response = request("/pay", &format!("hush-key-{verb:?}"))
            .plan(&plan)
            .send()
            .await;
        if verb == Verb::Claim {
            problems.push(response);
        }
        soon("nothing runs", app.idempotency.drain()).await;
    }
    let plan = Plan {
        commit_twice: true,
        ..Plan::commit(201, "hush-response")
    };
    app.store.fail(Verb::Complete, 1, Fault::Before);
    request("/pay", "hush-key-5").plan(&plan).send().await;
    assert_eq!(problems.len(), 21);
    for problem in problems {
        assert!(problem.status >= 400, "{problem:?}");
        assert_eq!(
            problem.header("content-type"),
            Some(&b"application/problem+json"[..])
        );
        assert_no_secret("a problem", problem.text());
        for (name, value) in &problem.headers {
            assert_no_secret(name, &String::from_utf8_lossy(value));
        }
    }
}

every! {
    async fn sec8_a_runtime_that_is_missing_tells_no_secrets(setting: Setting) {
        let app = setting.setup().without_runtime().start().await;
        let response = app
            .post("/pay?hush-query")
            .user("hush-user")
            .key("hush-key")
            .body("hush-body")
            .send()
            .await;
        response.assert_problem(500, "misconfigured");
        assert_no_secret("the problem", response.text());
        assert_no_secret("the log", &logs::all());
    }

    async fn sec8_another_caller_learns_nothing(setting: Setting) {
        let app = setting.start().await;
        // The same key for another request: neither what was asked for nor what came of it.
        let plan = Plan::body("hush-response")
            .header("x-secret", "hush-header")
            .header("location", "/hush-header");
        app.post("/pay")
            .key("k")
            .body("hush-body")
            .plan(&plan)
            .send()
            .await
            .assert_first(201);
        let other = app.post("/pay").key("k").body("guess").send().await;
        other.assert_problem(422, "key-reused");
        assert_no_secret(
            "the problem",
            &format!("{} {:?}", other.text(), other.headers),
        );
        assert_eq!(other.header("location"), None);
    }
}

both! {
    async fn sec8_neither_problems_nor_logs_nor_metrics_tell_secrets(framework: Framework) {
        let app = framework.start().await;
        every_way(&app).await;
        let log = logs::all();
        assert_no_secret("the log", &log);
        for event in app.events.all() {
            assert_no_secret("an event", &format!("{event:?}"));
        }
        // What it does tell is enough to follow one record.
        let hash = app.events.all()[0].record.clone().unwrap();
        assert!(log.contains(&hash), "the log names records by their hash");
        for debug in app
            .world
            .notes()
            .iter()
            .filter(|note| note.starts_with("Execution"))
        {
            assert_no_secret("the Debug of Execution", debug);
        }
        assert_no_secret("the Debug of MemoryStore", &format!("{:?}", app.store));
        // A path may tell anything, and is no route.
        let nowhere = app.post("/hush-query/hush-key").key("hush-key");
        nowhere.send().await.assert_first(201);
        app.idempotency.record_gauges();
        let metrics = metrics::all();
        assert!(metrics.contains(r#"operation="POST (no route)""#), "{metrics}");
        assert_no_secret("a metric", &metrics);
        // Each line has the spans that it is in before it, with all their fields.
        let log = logs::all();
        let span = ":idempotent{operation=POST (no route) record=";
        assert!(log.contains(span), "{log}");
        assert_no_secret("the log", &log);
    }
}

#[test]
fn sec8_debug_output_tells_no_secrets() {
    let key = Key::from_header(b"hush-key").unwrap();
    let scope = Scope::named("user", "hush-user".to_owned());
    let id = RecordId::new("", &["POST /"], &scope, &key);
    let fingerprint = Fingerprint::of_request("POST", "/?hush-query", None, b"hush-body");
    let claim = Claim::new(id, OwnerToken::new(1), fingerprint);
    let headers: [(&str, &[u8]); 1] = [("x-secret", b"hush-header")];
    let response = StoredResponse::new(200, &headers, b"hush-response");
    let builder = Idempotency::builder(MemoryStore::default())
        .scope("user", |_| Some("hush-user".to_owned()));
    let builder_text = format!("{builder:?}");
    let all = format!(
        "{key:?} {scope:?} {id:?} {fingerprint:?} {claim:?} {response:?} {builder_text} {:?} {:?}",
        builder.build(),
        Key::from_header(b"\"hush-key").unwrap_err(),
    );
    assert_no_secret("Debug", &all);
    assert!(
        !all.contains("104, 117, 115, 104"),
        "nor as a list of bytes: {all}"
    );
    // And two of them can be told apart.
    let other = RecordId::new("", &["POST /"], &scope, &Key::from_value("other").unwrap());
    assert_ne!(format!("{id:?}"), format!("{other:?}"));
}
