//! §5, and the argument `scope`: whose key it is.

use idempotent_runtime::Outcome;
use idempotent_tests::{Plan, every, logs};

every! {
    async fn sec5_two_users_with_the_same_key_and_body_do_not_meet(setting: Setting) {
        let app = setting.start().await;
        for path in ["/scope/user", "/scope/expression"] {
            let pay = |user| app.post(path).user(user).key("k").body("one");
            let before = app.world.effects();
            let anna = pay("anna").send().await;
            let berta = pay("berta").send().await;
            anna.assert_first(201);
            berta.assert_first(201);
            assert_ne!(anna.body, berta.body);
            assert_eq!(app.world.effects(), before + 2);
            pay("anna").send().await.assert_replay_of(&anna);
            pay("berta").send().await.assert_replay_of(&berta);
        }
    }

    async fn sec5_an_empty_value_names_nobody(setting: Setting) {
        let app = setting.start().await;
        for path in ["/scope/user", "/scope/expression"] {
            let nobody = app.post(path).user("").key("k").send().await;
            assert_eq!(nobody.status, 401, "{path}");
        }
        assert_eq!(app.world.effects(), 0);
    }

    async fn sec5_two_users_with_the_same_key_and_body_do_not_block_each_other(
        setting: Setting,
    ) {
        let app = setting.start().await;
        let pay = |user| app.post("/scope/user").user(user).key("k").body("one");
        let mut anna = pay("anna").plan(&Plan::gate("anna")).open().await;
        app.world.entered(1).await;
        pay("berta").send().await.assert_first(201);
        pay("anna").send().await.assert_problem(409, "in-flight");
        app.world.open("anna");
        anna.response().await.assert_first(201);
    }

    async fn sec5_no_value_can_be_shifted_from_one_field_into_another(setting: Setting) {
        let app = setting.start().await;
        // Who "a" with key "bc", who "ab" with key "c", and the like.
        let pairs = [
            ("a", "bc"),
            ("ab", "c"),
            ("abc", "\" \""),
            ("a:b", "c"),
            ("a", "b:c"),
            ("a/b", "c"),
        ];
        for (index, (user, key)) in pairs.into_iter().enumerate() {
            let request = app.post("/scope/user").header("x-user", user);
            let response = request.header("Idempotency-Key", key).send().await;
            response.assert_first(201);
            assert_eq!(app.world.effects(), index + 1);
        }
    }

    async fn sec5_global_is_one_namespace(setting: Setting) {
        let app = setting.start().await;
        let first = app.post("/pay").user("anna").key("k").send().await;
        let other = app.post("/pay").user("berta").key("k").send().await;
        other.assert_replay_of(&first);
    }

    async fn sec5_a_scope_without_resolver_is_refused_and_logged(setting: Setting) {
        let app = setting.start().await;
        let response = app
            .post("/scope/unregistered")
            .user("anna")
            .key("k")
            .send()
            .await;
        response.assert_problem(500, "misconfigured");
        assert_eq!(app.world.entries(), 0);
        assert_eq!(app.events.outcomes(), [Outcome::Misconfigured]);
        assert!(
            !response.text().contains("unregistered"),
            "{}",
            response.text()
        );
        let log = logs::all();
        let line = log
            .lines()
            .find(|line| line.contains("no resolver") && line.contains("unregistered"))
            .expect("the log says what is missing");
        assert!(line.contains("ERROR") && line.contains(".scope("), "{line}");
    }

    async fn sec5_a_caller_that_the_resolver_does_not_know_is_refused(setting: Setting) {
        let app = setting.start().await;
        let response = app.post("/scope/user").key("k").send().await;
        response.assert_problem(401, "caller-unknown");
        assert_eq!(response.header("www-authenticate"), None);
        assert_eq!(app.world.entries(), 0);
        assert_eq!(app.events.outcomes(), [Outcome::CallerUnknown]);
        // Nothing was recorded of it.
        app.post("/scope/user")
            .user("anna")
            .key("k")
            .send()
            .await
            .assert_first(201);
    }

    async fn sec5_a_caller_who_is_named_twice_is_unknown(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/scope/user").user("anna").user("berta").key("k");
        request.send().await.assert_problem(401, "caller-unknown");
        let request = app.post("/scope/user").header("x-user", b"\xff").key("k");
        request.send().await.assert_problem(401, "caller-unknown");
        assert_eq!(app.world.entries(), 0);
    }

    async fn sec5_the_key_is_read_before_the_scope_is_resolved(setting: Setting) {
        let app = setting.start().await;
        for path in ["/scope/user", "/scope/unregistered"] {
            app.post(path)
                .send()
                .await
                .assert_problem(400, "key-missing");
            app.post(path)
                .key("a b")
                .send()
                .await
                .assert_problem(400, "key-invalid");
        }
    }

    async fn sec5_an_expression_is_evaluated_after_extraction(setting: Setting) {
        let app = setting.start().await;
        // The extractor's own refusal, not ours.
        let refused = app.post("/scope/expression").key("k").send().await;
        assert_eq!(
            (refused.status, refused.text()),
            (401, "refused by the extractor")
        );
        app.post("/scope/expression")
            .user("anna")
            .key("k")
            .send()
            .await
            .assert_first(201);
    }

    /// The same value under another name is another caller.
    async fn sec5_the_name_of_the_scope_is_part_of_it(setting: Setting) {
        let app = setting.start().await;
        for path in ["/who/user", "/who/device", "/who/expression"] {
            let request = app.post(path).header("x-user", "1").header("x-device", "1").key("k");
            let first = request.send().await;
            first.assert_first(201);
            request.send().await.assert_replay_of(&first);
        }
        assert_eq!(app.world.effects(), 3);
    }

    async fn sec5_a_header_can_be_the_scope(setting: Setting) {
        let app = setting.start().await;
        let of = |device: &str| {
            app.post("/scope/device")
                .header("x-device", device)
                .key("k")
        };
        let first = of("1").send().await;
        first.assert_first(201);
        of("1").send().await.assert_replay_of(&first);
        of("2").send().await.assert_first(201);
        of("").send().await.assert_problem(401, "caller-unknown");
        app.post("/scope/device")
            .key("k")
            .send()
            .await
            .assert_problem(401, "caller-unknown");
    }

    async fn sec5_a_bearer_token_can_be_the_scope(setting: Setting) {
        let app = setting.start().await;
        let of = |value: &str| {
            app.post("/scope/bearer")
                .header("authorization", value)
                .key("k")
        };
        let first = of("Bearer one").send().await;
        first.assert_first(201);
        of("bearer one").send().await.assert_replay_of(&first);
        of("BEARER  one").send().await.assert_replay_of(&first);
        of("Bearer two").send().await.assert_first(201);
        for unknown in ["Bearer", "Bearer ", "Basic one", "one", ""] {
            of(unknown)
                .send()
                .await
                .assert_problem(401, "caller-unknown");
        }
    }

    async fn sec5_a_value_that_a_middleware_left_can_be_the_scope(setting: Setting) {
        let app = setting.start().await;
        let of = |who: &str| {
            app.post("/scope/verified")
                .header("x-verified", who)
                .key("k")
        };
        let first = of("anna").send().await;
        first.assert_first(201);
        of("anna").send().await.assert_replay_of(&first);
        of("berta").send().await.assert_first(201);
        app.post("/scope/verified")
            .key("k")
            .send()
            .await
            .assert_problem(401, "caller-unknown");
    }

    async fn sec5_a_resolver_sees_method_and_path(setting: Setting) {
        let app = setting.start().await;
        app.post("/scope/path/1?q")
            .key("k")
            .send()
            .await
            .assert_first(201);
        // One operation and one key, but two callers.
        app.post("/scope/path/2?q")
            .key("k")
            .send()
            .await
            .assert_first(201);
        let again = app.post("/scope/path/1?other").key("k").send().await;
        again.assert_problem(422, "key-reused");
    }

    async fn sec5_a_name_that_is_registered_twice_keeps_the_last_resolver(setting: Setting) {
        let setup = setting.setup();
        let app = setup
            .configure(|builder| builder.scope("user", |_| Some("everybody".to_owned())))
            .start()
            .await;
        let first = app.post("/scope/user").user("anna").key("k").send().await;
        let other = app.post("/scope/user").user("berta").key("k").send().await;
        other.assert_replay_of(&first);
    }
}
