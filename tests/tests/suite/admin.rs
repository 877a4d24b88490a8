//! The operator's routes, over sockets.

use idempotent_runtime::{Key, OnLost, RecordId, Scope};
use idempotent_tests::{
    App, Fault, OPERATOR, Plan, Request, Response, Verb, both, eventually, logs,
};
use serde_json::{Value, json};

fn look_up(app: &App, operation: &str, key: &str) -> Request {
    let wanted = json!({ "operation": operation, "scope": "global", "key": key });
    app.operator("POST", "look-up").json(&wanted)
}

fn document(response: &Response, status: u16) -> Value {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(
        response.header("content-type"),
        Some(&b"application/json"[..])
    );
    assert_eq!(response.header("cache-control"), Some(&b"no-store"[..]));
    response.json()
}

/// A run that is lost with its process.
async fn lose(app: &mut App, key: &str) {
    let (entries, lost) = (app.world.entries(), app.store.abandoned());
    let request = app.post("/lost/refuse").key(key).plan(&Plan::gate("never"));
    let _connection = request.open().await;
    app.world.entered(entries + 1).await;
    app.restart().await;
    eventually("the run has ended", || app.store.abandoned() > lost).await;
}

both! {
    async fn nobody_is_let_in_without_credentials(framework: Framework) {
        let app = framework.start().await;
        let first = app.post("/pay").key("k").send().await;
        first.assert_first(201);
        let id = RecordId::new("", &["POST /pay"], &Scope::global(), &Key::from_value("k.hushed").unwrap());
        let paths = [
            ("GET", format!("records/{id}")),
            ("DELETE", format!("records/{id}")),
            ("POST", format!("records/{id}/complete")),
            ("POST", "look-up".to_owned()),
            ("GET", "lost".to_owned()),
            ("GET", "running".to_owned()),
            ("GET", "nowhere".to_owned()),
        ];
        let credentials = [
            "",
            "Bearer",
            "Bearer ",
            "Bearer hush-operato",
            "Bearer hush-operator2",
            "Basic hush-operator",
            "hush-operator",
        ];
        for (method, path) in &paths {
            for given in credentials {
                let request = app.request(method, &format!("/admin/idempotency/{path}"));
                let refused = request.header("authorization", given).send().await;
                refused.assert_problem(401, "unauthorized");
                assert_eq!(refused.header("www-authenticate"), Some(&b"Bearer"[..]));
                assert_eq!(refused.header("cache-control"), Some(&b"no-store"[..]));
                assert!(!refused.text().contains(&id.to_string()));
            }
            let without = app.request(method, &format!("/admin/idempotency/{path}"));
            without.send().await.assert_problem(401, "unauthorized");
            let twice = app.operator(method, path).header("authorization", "Bearer x");
            twice.send().await.assert_problem(401, "unauthorized");
        }
        // Nothing was forgotten.
        app.post("/pay").key("k").send().await.assert_replay_of(&first);
        let any_case = app.request("GET", "/admin/idempotency/lost");
        let any_case = any_case.header("authorization", format!("bEARER {OPERATOR}"));
        document(&any_case.send().await, 200);
    }

    async fn a_running_a_done_and_a_lost_key_are_looked_up(framework: Framework) {
        let mut app = framework.start().await;
        lose(&mut app, "l.hushed").await;
        let entries = app.world.entries();
        let mut connection = app.post("/pay").key("k").plan(&Plan::gate("go")).open().await;
        app.world.entered(entries + 1).await;
        let running = document(&look_up(&app, "POST /pay", "\"k.hushed\"").send().await, 200);
        assert_eq!(running["state"], "running");
        assert_eq!(running["attempts"], 1);
        assert_eq!(running["leaseEnds"], Value::Null);
        let id = running["record"].as_str().unwrap().to_owned();
        let listed = document(&app.operator("GET", "running?longer_than=0").send().await, 200);
        assert_eq!(listed["claims"][0]["record"], id.as_str());
        assert_eq!(listed["next"], Value::Null);
        let long = document(&app.operator("GET", "running?longer_than=60").send().await, 200);
        assert_eq!(long["claims"], json!([]));

        app.world.open("go");
        let first = connection.response().await;
        let done = document(&app.operator("GET", &format!("records/{id}")).send().await, 200);
        assert_eq!(done["state"], "done");
        assert_eq!(done["response"]["status"], 201);
        assert_eq!(done["response"]["bodyBytes"], first.body.len());
        assert!(done["completedAt"].as_str().unwrap().ends_with('Z'), "{done}");
        assert!(done["response"].get("body").is_none(), "only when asked: {done}");
        assert!(done["response"].get("headers").is_none(), "only when asked: {done}");
        let whole = app.operator("GET", &format!("records/{id}?response=true")).send().await;
        assert_eq!(document(&whole, 200)["response"]["body"], first.text());

        let lost = document(&look_up(&app, "POST /lost/refuse", "l.hushed").send().await, 200);
        assert_eq!(lost["state"], "lost");
        let listed = document(&app.operator("GET", "lost?limit=1").send().await, 200);
        assert_eq!(listed["claims"][0]["record"], lost["record"]);
    }

    async fn a_lost_run_is_completed_and_a_record_forgotten(framework: Framework) {
        let mut app = framework.start().await;
        lose(&mut app, "l.hushed").await;
        let lost = document(&look_up(&app, "POST /lost/refuse", "l.hushed").send().await, 200);
        let path = format!("records/{}", lost["record"].as_str().unwrap());
        let complete = app.operator("POST", &format!("{path}/complete")).json(&json!({
            "status": 201,
            "headers": [["Location", "/payments/7"]],
            "json": { "id": 7 },
        }));
        let completed = complete.send().await;
        assert_eq!((completed.status, &completed.body[..]), (204, &b""[..]));
        let replay = app.post("/lost/refuse").key("l").send().await;
        replay.assert_replay(201);
        assert_eq!(replay.json(), json!({ "id": 7 }));
        assert_eq!(replay.header("location"), Some(&b"/payments/7"[..]));
        assert_eq!(replay.header("content-type"), Some(&b"application/json"[..]));
        complete.send().await.assert_problem(409, "already-done");

        // Whoever has seen it lost does not forget the outcome that it has by now.
        app.operator("DELETE", &path).send().await.assert_problem(409, "already-done");
        app.post("/lost/refuse").key("l").send().await.assert_replay(201);
        let forget = app.operator("DELETE", &format!("{path}?even=done"));
        assert_eq!(forget.send().await.status, 204);
        forget.send().await.assert_problem(404, "not-found");
        app.post("/lost/refuse").key("l").send().await.assert_first(201);
        assert_eq!(app.world.effects(), 1);
    }

    async fn a_lost_function_is_completed(framework: Framework) {
        let app = framework.start().await;
        for value in [json!(7), Value::Null] {
            let once = || {
                let once = app.idempotency.once("charge", Scope::global(), value.to_string());
                once.on_lost(OnLost::Refuse)
            };
            let lost = app.store.abandoned() + 1;
            let process = tokio::runtime::Runtime::new().unwrap();
            let entries = app.world.entries() + 1;
            let world = app.world.clone();
            process.spawn(once().run(async move {
                world.enter();
                world.pass("never").await;
            }));
            app.world.entered(entries).await;
            process.shutdown_background();
            eventually("the run has ended", || app.store.abandoned() == lost).await;
            let found = document(&look_up(&app, "charge", &value.to_string()).send().await, 200);
            let path = format!("records/{}/complete", found["record"].as_str().unwrap());
            let complete = app.operator("POST", &path).json(&json!({ "value": value }));
            assert_eq!(complete.send().await.status, 204);
            let known = once().run(async { json!("again") }).await.unwrap();
            assert_eq!((known.value, known.replayed), (value.clone(), true));
        }
    }

    async fn a_lost_claim_is_forgotten(framework: Framework) {
        let mut app = framework.start().await;
        lose(&mut app, "l.hushed").await;
        let lost = document(&look_up(&app, "POST /lost/refuse", "l.hushed").send().await, 200);
        let path = format!("records/{}", lost["record"].as_str().unwrap());
        assert_eq!(app.operator("DELETE", &path).send().await.status, 204);
        app.post("/lost/refuse").key("l").send().await.assert_first(201);
    }

    async fn a_claim_that_runs_is_forgotten_only_when_told_so(framework: Framework) {
        let app = framework.start().await;
        let _connection = app.post("/pay").key("k").plan(&Plan::gate("go")).open().await;
        app.world.entered(1).await;
        let running = document(&look_up(&app, "POST /pay", "k.hushed").send().await, 200);
        let path = format!("records/{}", running["record"].as_str().unwrap());
        let refused = app.operator("DELETE", &path).send().await;
        refused.assert_problem(409, "still-running");
        app.post("/pay").key("k").send().await.assert_problem(409, "in-flight");
        let refused = app.operator("DELETE", &format!("{path}?even=done")).send().await;
        refused.assert_problem(409, "still-running");
        let told = app.operator("DELETE", &format!("{path}?even=running"));
        assert_eq!(told.send().await.status, 204);
        app.world.open("go");
    }

    async fn what_is_not_understood_is_said_and_changes_nothing(framework: Framework) {
        let app = framework.start().await;
        app.post("/pay").key("k").send().await.assert_first(201);
        let id = RecordId::new("", &["POST /pay"], &Scope::global(), &Key::from_value("k.hushed").unwrap());
        let record = format!("records/{id}");
        for (method, path, status, code) in [
            ("GET", "nowhere", 404, "no-such-path"),
            ("GET", "records", 404, "no-such-path"),
            ("GET", "records/", 404, "no-such-path"),
            ("GET", "records/abc", 400, "name-invalid"),
            ("DELETE", "records/0123456789ab", 400, "name-invalid"),
            ("PUT", &record, 405, "method-not-allowed"),
            ("DELETE", "lost", 405, "method-not-allowed"),
            ("GET", "look-up", 405, "method-not-allowed"),
            ("DELETE", &format!("{record}?even_running=true"), 400, "query-invalid"),
            ("DELETE", &format!("{record}?even=yes"), 400, "query-invalid"),
            ("GET", "lost?limit=many", 400, "query-invalid"),
            ("GET", "lost?after=here", 400, "name-invalid"),
            ("GET", "lost?after=1.2", 501, "unsupported"),
            ("GET", "running?longer_than=1h", 400, "query-invalid"),
        ] {
            let refused = app.operator(method, path).send().await;
            refused.assert_problem(status, code);
        }
        let misspelled = app.operator("GET", "lost?limits=7").send().await;
        let detail = "`limits` is not a parameter here; there is `after`, `limit`";
        assert_eq!(misspelled.json()["detail"], detail);
        for body in [
            json!({}),
            json!([]),
            json!({ "operation": "POST /pay", "scope": "user", "key": "k" }),
            json!({ "operation": "POST /pay", "scope": { "name": "user" }, "key": "k" }),
            json!({ "operation": "POST /pay", "scope": "global", "key": "k", "body": true }),
        ] {
            let refused = app.operator("POST", "look-up").json(&body).send().await;
            refused.assert_problem(400, "body-invalid");
        }
        for body in [
            json!({}),
            json!({ "status": 101 }),
            json!({ "status": 70_000 }),
            json!({ "status": 200, "headers": [["a b", "c"]] }),
            json!({ "status": 200, "headers": [["a", "b\r\nc: d"]] }),
            json!({ "status": 200, "body": "text", "json": {} }),
            json!({ "status": 200, "value": 7 }),
        ] {
            let complete = app.operator("POST", &format!("{record}/complete"));
            complete.json(&body).send().await.assert_problem(400, "body-invalid");
        }
        look_up(&app, "POST /pay", "\"k.hushed").send().await.assert_problem(400, "key-invalid");
        look_up(&app, "POST /pay", "other").send().await.assert_problem(404, "not-found");
        app.post("/pay").key("k").send().await.assert_replay(201);
    }

    async fn every_scope_can_be_named(framework: Framework) {
        let app = framework.start().await;
        for (path, scope) in [
            ("/scope/user", json!({ "name": "user", "value": "hush-user.hushed" })),
            ("/scope/expression", json!({ "value": "hush-user.hushed" })),
        ] {
            app.post(path).user("hush-user").key("hush-key").send().await.assert_first(201);
            let operation = format!("POST {path}");
            let wanted = json!({ "operation": operation, "scope": scope, "key": "hush-key.hushed" });
            let found = app.operator("POST", "look-up").json(&wanted).send().await;
            assert_eq!(document(&found, 200)["state"], "done");
            assert!(!found.text().contains("hush"), "{}", found.text());
        }
    }

    async fn acts_are_logged_and_secrets_are_not(framework: Framework) {
        let app = framework.start().await;
        let plan = Plan::body("hush-response");
        let request = app.post("/pay").key("hush-key").body("hush-body").plan(&plan);
        request.send().await.assert_first(201);
        let found = look_up(&app, "POST /pay", "hush-key.hushed").send().await;
        let found = document(&found, 200);
        let id = found["record"].as_str().unwrap();
        let path = format!("records/{id}");
        app.operator("GET", &format!("{path}?response=true")).send().await;
        let complete = app.operator("POST", &format!("{path}/complete"));
        let complete = complete.json(&json!({ "status": 200, "body": "hush-body" }));
        complete.send().await.assert_problem(409, "already-done");
        app.operator("DELETE", &path).send().await;
        app.store.fail(Verb::Claim, 1, Fault::Before);
        let log = logs::all();
        let short = found["shortHash"].as_str().unwrap();
        for act in ["inspect", "forget", "complete"] {
            let is_told = |line: &str| line.contains(short) && line.contains(&format!("act=\"{act}\""));
            assert!(log.lines().any(is_told), "{act} is logged");
        }
        for secret in ["hush-operator", "hush-key", "hush-body", "hush-response", id] {
            assert!(!log.contains(secret), "{secret} is not logged");
        }
    }
}
