//! §4, and the argument `key`: what is a key, and where it comes from.

use idempotent_runtime::Outcome;
use idempotent_tests::{App, both, every};
use serde_json::json;

/// Sends with each of the keys, and gives the number of effects after each.
async fn effects(app: &App, keys: &[&[u8]]) -> Vec<usize> {
    let mut effects = Vec::new();
    for key in keys {
        let request = app.post("/pay").header("Idempotency-Key", key);
        let response = request.body("one").send().await;
        assert_eq!(response.status, 201, "{}", String::from_utf8_lossy(key));
        effects.push(app.world.effects());
    }
    effects
}

every! {
    async fn sec4_the_header_has_any_case(setting: Setting) {
        let app = setting.start().await;
        let first = app.post("/pay").header("IDEMPOTENCY-KEY", "k").send().await;
        first.assert_first(201);
        for name in ["idempotency-key", "Idempotency-Key", "iDEMPOTENCY-kEY"] {
            let retry = app.post("/pay").header(name, "k").send().await;
            retry.assert_replay_of(&first);
        }
        assert_eq!(app.world.effects(), 1);
    }

    async fn sec4_a_quoted_and_a_bare_key_are_the_same(setting: Setting) {
        let app = setting.start().await;
        let same: [&[u8]; 6] = [
            b"abc",
            b"\"abc\"",
            b"\"abc\";v=1",
            b"\"abc\"; v=\"x\"; w",
            b"  abc  ",
            b" \"abc\" ",
        ];
        assert_eq!(effects(&app, &same).await, [1; 6]);
    }

    async fn sec4_escapes_are_undone(setting: Setting) {
        let app = setting.start().await;
        // `\"` and `\\` in a quoted key are `"` and `\` in a bare one.
        assert_eq!(effects(&app, &[br#""a\"b\\c""#, br#"a"b\c"#]).await, [1; 2]);
    }

    async fn sec4_keys_are_never_trimmed_truncated_or_lower_cased(setting: Setting) {
        let app = setting.start().await;
        let longest = "k".repeat(255);
        let other = format!("{}l", "k".repeat(254));
        let keys: [&[u8]; 12] = [
            b"abc",
            b"ABC",
            b"Abc",
            b"\" abc\"",
            b"\"abc \"",
            b"\"abc  \"",
            b"abcd",
            b"a",
            longest.as_bytes(),
            other.as_bytes(),
            b"abc;v=1",
            b"'abc'",
        ];
        let all: Vec<usize> = (1..=keys.len()).collect();
        assert_eq!(effects(&app, &keys).await, all);
    }

    async fn sec4_any_visible_character_is_part_of_a_key(setting: Setting) {
        let app = setting.start().await;
        // Slashes, colons, commas, and whatever else somebody's ids are made of.
        let all: Vec<u8> = (0x23..=0x7e).chain([0x21, 0x22]).collect();
        let keys: [&[u8]; 5] = [b"a/b", b"a:b", b"a,b", &all, b"a"];
        assert_eq!(effects(&app, &keys).await, [1, 2, 3, 4, 5]);
        assert_eq!(effects(&app, &keys).await, [5; 5]);
    }

    async fn sec4_more_than_one_key_is_refused(setting: Setting) {
        let app = setting.start().await;
        for (one, other) in [("a", "b"), ("a", "a"), ("a", ""), ("\"a\"", "a")] {
            let response = app.post("/pay").key(one).key(other).send().await;
            let document = response.assert_problem(400, "key-invalid");
            assert!(
                document["detail"]
                    .as_str()
                    .unwrap()
                    .contains("more than one"),
                "{document}"
            );
        }
        assert_eq!(app.world.entries(), 0);
        assert_eq!(app.events.outcomes(), [Outcome::KeyInvalid; 4]);
    }

    async fn sec4_other_control_characters_never_reach_a_handler(setting: Setting) {
        let app = setting.start().await;
        for control in [b"a\x00b", b"a\x01b", b"a\x1fb", b"a\x7fb", b"a\x0bb"] {
            let response = app.post("/pay").key(control).send().await;
            assert_eq!(response.status, 400, "{control:?}");
        }
        assert_eq!(app.world.entries(), 0);
    }

    /// Nowhere does a malformed key mean no key.
    async fn sec4_a_malformed_key_never_switches_protection_off(setting: Setting) {
        let app = setting.start().await;
        for path in [
            "/key/optional",
            "/key/derived",
            "/key/derived-no-body",
            "/no-body",
        ] {
            for key in [&b""[..], b"\"abc", b"a\x80", b"a b", b"a\tb"] {
                let response = app.post(path).user("anna").key(key).send().await;
                response.assert_problem(400, "key-invalid");
            }
            let response = app.post(path).user("anna").key("a").key("b").send().await;
            response.assert_problem(400, "key-invalid");
        }
        assert_eq!(app.world.entries(), 0);
        assert_eq!(app.idempotency.unprotected(), 0);
    }

    async fn sec4_optional_with_a_key_is_protected(setting: Setting) {
        let app = setting.start().await;
        let send = || async { app.post("/key/optional").key("k").body("one").send().await };
        let first = send().await;
        first.assert_first(201);
        send().await.assert_replay_of(&first);
        assert_eq!(app.world.effects(), 1);
        assert_eq!(app.idempotency.unprotected(), 0);
    }

    async fn sec4_derived_is_one_key_for_the_same_request_of_the_same_caller(setting: Setting) {
        let app = setting.start().await;
        let send = |target, user, body| {
            let request = app.post(target).user(user).body(body);
            async move { request.send().await }
        };
        let first = send("/key/derived", "anna", "one").await;
        first.assert_first(201);
        send("/key/derived", "anna", "one")
            .await
            .assert_replay_of(&first);
        send("/key/derived", "anna", "two").await.assert_first(201);
        send("/key/derived", "berta", "one").await.assert_first(201);
        send("/key/derived?again", "anna", "one")
            .await
            .assert_first(201);
        assert_eq!(app.world.effects(), 4);
        // There is no such thing as the same key with another request.
        assert_eq!(app.events.count(Outcome::KeyReused), 0);
        let none = app.post("/key/derived-no-body").user("anna");
        let first = none.send().await;
        none.send().await.assert_replay_of(&first);
        assert!(
            app.world
                .notes()
                .contains(&"protected true, key None".to_owned())
        );
    }

    async fn sec4_derived_takes_the_header_when_there_is_one(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/key/derived").user("anna").body("one");
        request.send().await.assert_first(201);
        let keyed = request.clone().key("k");
        let first = keyed.send().await;
        first.assert_first(201);
        keyed.send().await.assert_replay_of(&first);
        let other = app.post("/key/derived").user("anna").key("k").body("two");
        other.send().await.assert_problem(422, "key-reused");
        assert_eq!(app.world.effects(), 2);
    }

    async fn sec4_an_expression_is_the_key_and_the_header_is_not_read(setting: Setting) {
        let app = setting.start().await;
        let event = |id: &str, amount: i64| {
            app.post("/key/expression")
                .json(&json!({"id": id, "amount": amount}))
        };
        let first = event("evt_1", 1).send().await;
        first.assert_first(201);
        event("evt_1", 1)
            .key("whatever")
            .send()
            .await
            .assert_replay_of(&first);
        // Not even to find it malformed.
        event("evt_1", 1)
            .key("a b")
            .key("")
            .send()
            .await
            .assert_replay_of(&first);
        event("evt_2", 1)
            .key("whatever")
            .send()
            .await
            .assert_first(201);
        event("evt_1", 2)
            .send()
            .await
            .assert_problem(422, "key-reused");
        assert_eq!(app.world.effects(), 2);
        assert!(
            app.world
                .notes()
                .contains(&"protected true, key Some(\"evt_1\")".to_owned())
        );
    }

    async fn sec4_an_expression_may_be_any_text_but_none_or_too_long(setting: Setting) {
        let app = setting.start().await;
        let event = |id: String| app.post("/key/expression").json(&json!({"id": id}));
        event(String::new())
            .send()
            .await
            .assert_problem(400, "key-invalid");
        event("ü".repeat(256))
            .send()
            .await
            .assert_problem(400, "key-invalid");
        assert_eq!(app.world.entries(), 0);
        for id in ["ein Schlüssel\n".to_owned(), "ü".repeat(255)] {
            let first = event(id.clone()).send().await;
            first.assert_first(201);
            event(id).send().await.assert_replay_of(&first);
        }
    }

    async fn sec4_a_key_is_issued_by_the_server_for_who_has_none(setting: Setting) {
        let app = setting.start().await;
        let mut keys = Vec::new();
        for _ in 0..2 {
            let issued = app.post("/idempotency-keys").send().await;
            issued.assert_first(201);
            assert_eq!(
                issued.header("content-type"),
                Some(&b"application/json"[..])
            );
            let key = issued.json()["key"].as_str().unwrap().to_owned();
            assert_eq!(
                (key.len(), key.as_bytes()[14]),
                (36, b'4'),
                "a random uuid: {key}"
            );
            let first = app.post("/pay").key(&key).send().await;
            first.assert_first(201);
            app.post("/pay")
                .key(&key)
                .send()
                .await
                .assert_replay_of(&first);
            keys.push(key);
        }
        assert_ne!(keys[0], keys[1]);
    }
}

both! {
    async fn sec4_a_missing_key_is_refused(framework: Framework) {
        let app = framework.start().await;
        for path in ["/pay", "/key/required", "/no-body"] {
            let response = app.post(path).body("one").send().await;
            response.assert_problem(400, "key-missing");
        }
        assert_eq!(app.world.entries(), 0);
        assert_eq!(app.events.outcomes(), [Outcome::KeyMissing; 3]);
        assert_eq!(app.store.memory().entries(), 0);
    }

    async fn sec4_what_is_no_key_is_refused_with_its_reason(framework: Framework) {
        let app = framework.start().await;
        let too_long = "k".repeat(256);
        let too_long_quoted = format!("\"{too_long}\"");
        let cases: [(&[u8], &str); 17] = [
            (b"", "empty"),
            (b"\"\"", "empty"),
            (b"\"\";v=1", "empty"),
            (too_long.as_bytes(), "longer than 255"),
            (too_long_quoted.as_bytes(), "longer than 255"),
            (b"a\tb", "control"),
            (b"\"a\tb\"", "control"),
            (b"a\x80b", "not visible ASCII"),
            (b"\xffab", "not visible ASCII"),
            ("schlüssel".as_bytes(), "not visible ASCII"),
            ("\"schlüssel\"".as_bytes(), "not visible ASCII"),
            (b"a b", "space"),
            (b"\"abc", "quoted string"),
            (b"\"", "quoted string"),
            (b"\"a\\b\"", "quoted string"),
            (b"\"a\"b", "quoted string"),
            (b"\"a\", \"b\"", "quoted string"),
        ];
        for (key, reason) in cases {
            let request = app.post("/pay").header("Idempotency-Key", key);
        let response = request.body("one").send().await;
            let document = response.assert_problem(400, "key-invalid");
            let detail = document["detail"].as_str().unwrap();
            assert!(
                detail.contains(reason),
                "{:?}: {detail}",
                String::from_utf8_lossy(key)
            );
        }
        assert_eq!(app.world.entries(), 0);
        assert_eq!(app.store.memory().entries(), 0);
        assert_eq!(app.events.outcomes(), [Outcome::KeyInvalid; 17]);
    }

    async fn sec4_optional_without_a_key_runs_unprotected_and_says_so(framework: Framework) {
        let app = framework.start().await;
        for effect in 1..=3 {
            let response = app.post("/key/optional").body("one").send().await;
            response.assert_first(201);
            assert_eq!(response.text(), format!("effect {effect}"));
            assert_eq!(app.idempotency.unprotected(), effect);
        }
        assert_eq!(app.events.outcomes(), [Outcome::Unprotected; 3]);
        assert_eq!(app.events.all()[0].record, None);
        assert_eq!(app.events.all()[0].operation, "POST /key/optional");
        assert_eq!(app.store.memory().entries(), 0);
        assert_eq!(app.idempotency.running(), 0);
    }
}
