//! §1, and the argument `operation`: which handler a key was sent to.

use idempotent_runtime::MemoryStore;
use idempotent_tests::{App, Framework, Plan, Steered, both, every};

every! {
    async fn sec1_a_key_names_one_operation(setting: Setting) {
        let app = setting.start().await;
        for path in ["/pay", "/key/required", "/fingerprint/request"] {
            let first = app.post(path).key("k").body("one").send().await;
            first.assert_first(201);
            app.post(path)
                .key("k")
                .body("one")
                .send()
                .await
                .assert_replay_of(&first);
        }
        assert_eq!(app.world.effects(), 3);
    }

    async fn sec1_the_method_is_part_of_the_operation(setting: Setting) {
        let app = setting.start().await;
        for (index, method) in ["POST", "PUT", "PATCH", "DELETE", "PAY"]
            .into_iter()
            .enumerate()
        {
            let request = app.request(method, "/pay").key("k").body("one");
            let first = request.send().await;
            first.assert_first(201);
            assert_eq!(first.text(), format!("effect {}", index + 1));
            request.send().await.assert_replay_of(&first);
            let last = app.events.all().pop().unwrap();
            assert_eq!(last.operation, format!("{method} /pay"));
        }
    }

    async fn sec1_parameters_of_the_path_are_not_part_of_the_operation(setting: Setting) {
        let app = setting.start().await;
        let first = app.post("/items/1").key("k").body("one").send().await;
        first.assert_first(201);
        app.post("/items/1")
            .key("k")
            .body("one")
            .send()
            .await
            .assert_replay_of(&first);
        // One operation, so one key; and another path, so another request.
        let other = app.post("/items/2").key("k").body("one").send().await;
        other.assert_problem(422, "key-reused");
        assert_eq!(app.world.effects(), 1);
        assert_eq!(app.events.all()[0].operation, "POST /items/{id}");
    }

    /// A nested router sees a shortened path, and what was cut off has a parameter.
    async fn sec1_a_parameter_in_the_prefix_of_a_nested_router_counts(setting: Setting) {
        let app = setting.start().await;
        let first = app.post("/tenants/1/pay").key("k").body("one").send().await;
        first.assert_first(201);
        app.post("/tenants/1/pay")
            .key("k")
            .body("one")
            .send()
            .await
            .assert_replay_of(&first);
        let other = app.post("/tenants/2/pay").key("k").body("one").send().await;
        other.assert_problem(422, "key-reused");
        assert_eq!(app.world.effects(), 1);
        assert_eq!(app.events.all()[0].operation, "POST /tenants/{tenant}/pay");
        // The same handler in another place is another operation.
        app.post("/pay")
            .key("k")
            .body("one")
            .send()
            .await
            .assert_first(201);
    }

    async fn sec1_without_a_matched_route_the_path_is_the_operation(setting: Setting) {
        let app = setting.start().await;
        for path in ["/no/such/route", "/no/other/route"] {
            let first = app.post(path).key("k").body("one").send().await;
            first.assert_first(201);
            app.post(path)
                .key("k")
                .body("one")
                .send()
                .await
                .assert_replay_of(&first);
            assert_eq!(
                app.events.all().pop().unwrap().operation,
                format!("POST {path}")
            );
        }
        assert_eq!(app.world.effects(), 2);
    }

    async fn sec10_a_named_operation_is_the_same_on_every_route(setting: Setting) {
        let app = setting.start().await;
        let first = app.post("/alike/a").key("k").body("one").send().await;
        first.assert_first(201);
        app.post("/alike/b")
            .key("k")
            .body("two")
            .send()
            .await
            .assert_replay_of(&first);
        assert_eq!(app.events.all()[0].operation, "shared, whatever");
        // Where the fingerprint says what is asked for, the path is part of that.
        app.post("/shared/a")
            .key("k")
            .body("one")
            .send()
            .await
            .assert_first(201);
        let other = app.post("/shared/b").key("k").body("one").send().await;
        other.assert_problem(422, "key-reused");
        let other = app
            .request("PUT", "/shared/a")
            .key("k")
            .body("one")
            .send()
            .await;
        other.assert_problem(422, "key-reused");
        assert_eq!(app.world.effects(), 2);
    }
}

both! {
    async fn sec1_a_namespace_keeps_applications_apart_in_one_store(framework: Framework) {
        let memory = MemoryStore::default();
        let mut apps = Vec::new();
        for namespace in ["one", "two", "one"] {
            let (memory, setup) = (memory.clone(), framework.setup());
            let app = setup
                .store(|_| Steered::new(memory))
                .configure(move |builder| builder.namespace(namespace))
                .start()
                .await;
            apps.push(app);
        }
        let first = apps[0].post("/pay").key("k").send().await;
        first.assert_first(201);
        apps[1].post("/pay").key("k").send().await.assert_first(201);
        apps[2]
            .post("/pay")
            .key("k")
            .send()
            .await
            .assert_replay_of(&first);
    }
}

/// What one of them recorded the other replays: a record is of no framework.
#[tokio::test]
async fn sec1_both_frameworks_share_a_store() {
    let memory = MemoryStore::default();
    let mut apps = Vec::new();
    for framework in [Framework::Axum, Framework::Actix] {
        let memory = memory.clone();
        apps.push(
            framework
                .setup()
                .store(|_| Steered::new(memory))
                .start()
                .await,
        );
    }
    let plan = Plan::body(b"\x00\xff")
        .header("content-type", "application/octet-stream")
        .header("x-raw", b"\xff")
        .header("link", "1")
        .header("link", "2");
    for (first, second) in [(0, 1), (1, 0)] {
        let send = |app: &App| {
            let request = app.post("/items/1?q").key(first.to_string()).body("one");
            let request = request.plan(&plan);
            async move { request.send().await }
        };
        let recorded = send(&apps[first]).await;
        recorded.assert_first(201);
        send(&apps[second]).await.assert_replay_of(&recorded);
    }
}
