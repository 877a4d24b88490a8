//! §3, §7 and §9, and the argument `max_response`: bodies and stores have limits.

use std::time::Duration;

use idempotent_runtime::{MemoryStore, MemoryStoreBuilder, Outcome};
use idempotent_tests::{App, Framework, Plan, Request, Steered, Streaming, Verb, both, every};

/// What `/small` keeps.
const KEPT: usize = 1024;

/// Checks that a retry is told that the response is gone, twice, and that nothing runs.
async fn assert_not_kept(app: &App, request: &Request, status: u16, location: Option<&[u8]>) {
    let entries = app.world.entries();
    for _ in 0..2 {
        let retry = request.send().await;
        let document = retry.assert_problem(409, "response-not-kept");
        assert_eq!(document["originalStatus"], status);
        assert_eq!(document["retryable"], false);
        assert_eq!(retry.header("location"), location);
        assert_eq!(retry.header("retry-after"), None);
    }
    assert_eq!(app.world.entries(), entries);
}

async fn full(
    framework: Framework,
    limit: impl FnOnce(MemoryStoreBuilder) -> MemoryStoreBuilder,
) -> App {
    let setup = framework.setup();
    let store = |clock| Steered::new(limit(MemoryStore::builder().clock(clock)).build());
    setup.store(store).start().await
}

every! {
    async fn sec7_a_response_of_the_limit_is_kept_and_a_larger_one_is_not(setting: Setting) {
        let app = setting.start().await;
        let request = app
            .post("/small")
            .key("kept")
            .plan(&Plan::body(vec![b'x'; KEPT]));
        let first = request.send().await;
        first.assert_first(201);
        request.send().await.assert_replay_of(&first);

        let plan = Plan::body(vec![b'x'; KEPT + 1])
            .header("location", "/payments/1")
            .header("etag", "\"1\"");
        let request = app.post("/small").key("not-kept").plan(&plan);
        let first = request.send().await;
        first.assert_first(201);
        assert_eq!(first.body.len(), KEPT + 1);
        assert_eq!(first.header("etag"), Some(&b"\"1\""[..]));
        assert_not_kept(&app, &request, 201, Some(b"/payments/1")).await;
        assert_eq!(app.events.count(Outcome::Tombstoned), 1);
        assert_eq!(app.events.count(Outcome::ResponseNotKept), 2);
    }

    async fn sec7_a_stream_within_the_limit_is_kept_and_a_longer_one_is_not(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/small").key("kept").plan(&Plan::stream(4, 256));
        let first = request.send().await;
        first.assert_first(201);
        assert_eq!(first.body.len(), KEPT);
        request.send().await.assert_replay_of(&first);

        for (key, plan) in [
            ("a", Plan::stream(5, 256)),
            ("b", Plan::stream(1, KEPT + 1)),
            ("c", Plan::stream(KEPT + 1, 1)),
            ("d", Plan::stream(100, 5000)),
        ] {
            let streaming = plan.stream.clone().unwrap();
            let request = app.post("/small").key(key).plan(&plan);
            let first = request.send().await;
            first.assert_first(201);
            let bare = app.post("/bare").plan(&plan).send().await;
            assert_eq!(first.body.len(), streaming.chunks * streaming.size);
            assert_eq!(first.body, bare.body);
            assert_not_kept(&app, &request, 201, None).await;
        }
    }

    async fn sec10_the_limit_is_a_mebibyte_unless_said(setting: Setting) {
        let app = setting.start().await;
        for (size, kept) in [(1 << 20, true), ((1 << 20) + 1, false)] {
            let plan = Plan::stream(1, size);
            let request = app.post("/pay").key(size.to_string()).plan(&plan);
            let first = request.send().await;
            assert_eq!(first.body.len(), size);
            let retry = request.send().await;
            assert_eq!(retry.is_replay(), kept, "{size}");
        }
    }

    async fn sec7_the_status_of_a_large_response_is_told(setting: Setting) {
        let app = setting.start().await;
        for status in [200, 303, 404, 500] {
            let plan = Plan {
                status: Some(status),
                ..Plan::body(vec![b'x'; 2 * KEPT])
            };
            let request = app.post("/small").key(status.to_string()).plan(&plan);
            request.send().await.assert_first(status);
            assert_not_kept(&app, &request, status, None).await;
        }
        // One that says "try again" is released, however large.
        let plan = Plan {
            status: Some(503),
            ..Plan::body(vec![b'x'; 2 * KEPT])
        };
        let request = app.post("/small").key("k").plan(&plan);
        request.send().await.assert_first(503);
        request.send().await.assert_first(503);
    }

    async fn sec7_a_large_response_is_not_held_back_beyond_the_limit(setting: Setting) {
        let app = setting.start().await;
        let streaming = Streaming {
            chunks: 3,
            size: 2000,
            gate: Some((1, "g".to_owned())),
            fails: false,
        };
        let plan = Plan {
            stream: Some(streaming),
            ..Plan::default()
        };
        let request = app.post("/small").key("k").plan(&plan);
        let mut connection = request.open().await;
        connection.head().await.assert_first(201);
        let mut body = connection.chunk().await.unwrap();
        // The rest is not even made yet, and what was done is known.
        assert_not_kept(&app, &request, 201, None).await;
        assert_eq!(app.idempotency.running(), 0);
        app.world.open("g");
        while let Some(chunk) = connection.chunk().await {
            body.extend(chunk);
        }
        assert_eq!(body.len(), 6000);
    }

    async fn sec7_events_are_delivered_one_by_one(setting: Setting) {
        let app = setting.start().await;
        for (key, content_type) in [
            ("a", "text/event-stream"),
            ("b", "Text/Event-Stream; charset=utf-8"),
        ] {
            let streaming = Streaming {
                chunks: 3,
                size: 10,
                gate: Some((1, key.to_owned())),
                fails: false,
            };
            let plan = Plan {
                stream: Some(streaming),
                ..Plan::default()
            }
            .header("content-type", content_type);
            let request = app.post("/pay").key(key).plan(&plan);
            let mut connection = request.open().await;
            connection.head().await.assert_first(201);
            assert_eq!(connection.chunk().await.unwrap(), b"aaaaaaaaaa");
            assert_not_kept(&app, &request, 201, None).await;
            app.world.open(key);
            assert_eq!(connection.chunk().await.unwrap(), b"bbbbbbbbbb");
            assert_eq!(connection.chunk().await.unwrap(), b"cccccccccc");
            assert_eq!(connection.chunk().await, None);
            assert_not_kept(&app, &request, 201, None).await;
        }
    }

    async fn sec7_events_whose_client_goes_away_are_not_run_again(setting: Setting) {
        let app = setting.start().await;
        let streaming = Streaming {
            chunks: 3,
            size: 10,
            gate: Some((1, "never".to_owned())),
            fails: false,
        };
        let plan = Plan {
            stream: Some(streaming),
            ..Plan::default()
        }
        .header("content-type", "text/event-stream");
        let request = app.post("/pay").key("k").plan(&plan);
        let mut connection = request.open().await;
        connection.head().await;
        connection.chunk().await;
        connection.reset();
        assert_not_kept(&app, &request, 201, None).await;
    }

    async fn sec7_a_body_that_fails_is_not_run_again(setting: Setting) {
        let app = setting.start().await;
        // It fails while it is read to be recorded, and when that was given up.
        for (path, size) in [("/pay", 10), ("/small", 2000)] {
            let streaming = Streaming {
                chunks: 2,
                size,
                gate: None,
                fails: true,
            };
            let plan = Plan {
                stream: Some(streaming),
                ..Plan::default()
            }
            .header("location", "/1");
            let request = app.post(path).key("k").plan(&plan);
            let mut connection = request.open().await;
            // The failure reaches the client: the response breaks off somewhere.
            let mut broke_off = connection.is_hung_up().await;
            while !broke_off {
                match connection.try_chunk().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("a failure looks like an end"),
                    Err(_) => broke_off = true,
                }
            }
            assert_not_kept(&app, &request, 201, Some(b"/1")).await;
        }
    }

    async fn sec3_the_body_is_not_read_for_a_handler_that_does_not_take_it(setting: Setting) {
        let app = setting.setup().body_limit(100).start().await;
        let request = app.post("/no-body").key("k").body([b'x'; 101]);
        let first = request.send().await;
        first.assert_first(201);
        request.send().await.assert_replay_of(&first);
    }

    async fn sec8_an_event_of_a_body_over_the_limit_names_its_route(setting: Setting) {
        let app = setting.setup().body_limit(100).start().await;
        app.post("/shared/a")
            .key("k")
            .body([b'x'; 101])
            .send()
            .await
            .assert_problem(413, "body-too-large");
        assert_eq!(app.events.all()[0].operation, "POST /shared/a");
    }
}

both! {
    async fn sec9_a_full_store_is_full_where_a_store_that_is_down_may_be_passed_by(
        framework: Framework,
    ) {
        let app = full(framework, |store| store.max_entries(0)).await;
        let response = app.post("/down/run").key("k").send().await;
        response.assert_problem(503, "store-full");
        assert_eq!(app.world.entries(), 0);
    }

    async fn sec1_the_mark_of_a_large_response_lives_for_its_ttl(framework: Framework) {
        let app = framework.start().await;
        let request = app
            .post("/ttl/hour")
            .key("k")
            .plan(&Plan::stream(2, 1 << 20));
        request.send().await.assert_first(201);
        app.clock.advance(Duration::from_secs(3599));
        assert_not_kept(&app, &request, 201, None).await;
        app.clock.advance(Duration::from_secs(1));
        request.send().await.assert_first(201);
    }

    async fn sec3_a_request_body_over_the_limit_is_refused(framework: Framework) {
        let app = framework.setup().body_limit(100).start().await;
        let body = [b'x'; 101];
        for request in [
            app.post("/pay").key("k").body(body),
            app.post("/pay")
                .key("k")
                .chunked(&[&body[..50], &body[50..]]),
            app.post("/key/derived").user("anna").body(body),
        ] {
            let response = request.send().await;
            let document = response.assert_problem(413, "body-too-large");
            assert_eq!(document["retryable"], false);
        }
        assert_eq!(app.world.entries(), 0);
        assert_eq!(app.store.memory().entries(), 0);
        assert_eq!(app.events.outcomes(), [Outcome::BodyTooLarge; 3]);
        // The key is free, for what is within the limit.
        let request = app.post("/pay").key("k").body(&body[..100]);
        let first = request.send().await;
        first.assert_first(201);
        request.send().await.assert_replay_of(&first);
        // What is not protected is the framework's business.
        assert_eq!(
            app.post("/key/optional").body(body).send().await.status,
            413
        );
        assert_eq!(
            app.request("PUT", "/bare").body(body).send().await.status,
            413
        );
    }

    async fn sec3_the_body_limit_of_the_framework_holds_by_itself(framework: Framework) {
        let app = framework.start().await;
        // 2 MiB in axum, 256 KiB in actix-web.
        let limit = match framework {
            Framework::Axum => 2 << 20,
            Framework::Actix => 256 << 10,
        };
        let within = app.post("/pay").key("k").body(vec![b'x'; limit]);
        within.send().await.assert_first(201);
        let over = app.post("/pay").key("l").body(vec![b'x'; limit + 1]);
        over.send().await.assert_problem(413, "body-too-large");
        assert_eq!(app.world.entries(), 1);
    }

    async fn sec9_a_full_store_refuses_before_the_handler_runs(framework: Framework) {
        let app = full(framework, |store| store.max_entries(2)).await;
        let recorded = app.post("/ttl/hour").key("recorded");
        let first = recorded.send().await;
        first.assert_first(201);
        let running = app.post("/ttl/hour").key("running");
        let mut owner = running.clone().plan(&Plan::gate("g")).open().await;
        app.world.entered(2).await;
        for key in 0..20 {
            let response = app.post("/ttl/hour").key(key.to_string()).send().await;
            let document = response.assert_problem(503, "store-full");
            assert_eq!(document["retryable"], true);
            assert_eq!(response.header("retry-after"), Some(&b"1"[..]));
        }
        assert_eq!(app.world.entries(), 2);
        assert_eq!(app.events.count(Outcome::StoreFull), 20);
        // Nothing was evicted to make room.
        recorded.send().await.assert_replay_of(&first);
        running.send().await.assert_problem(409, "in-flight");
        app.world.open("g");
        let second = owner.response().await;
        second.assert_first(201);
        running.send().await.assert_replay_of(&second);
        recorded.send().await.assert_replay_of(&first);
        // Room comes back with time, and with a release.
        app.clock.advance(Duration::from_hours(1));
        app.post("/ttl/hour")
            .key("new")
            .send()
            .await
            .assert_first(201);
        let released = app
            .post("/ttl/hour")
            .key("released")
            .plan(&Plan::status(503));
        for _ in 0..5 {
            released.send().await.assert_first(503);
        }
        assert_eq!(app.store.memory().entries(), 1);
    }

    async fn sec9_room_for_the_response_is_reserved_with_the_claim(framework: Framework) {
        let app = full(framework, |store| store.max_bytes(4096)).await;
        // It could become a response of 1 MiB.
        app.post("/pay")
            .key("k")
            .send()
            .await
            .assert_problem(503, "store-full");
        let mut owner = app
            .post("/small")
            .key("one")
            .plan(&Plan::gate("g"))
            .open()
            .await;
        app.world.entered(1).await;
        assert!(app.store.memory().bytes() >= 1024);
        app.post("/small")
            .key("two")
            .send()
            .await
            .assert_problem(503, "store-full");
        app.world.open("g");
        let first = owner.response().await;
        first.assert_first(201);
        // What the record does not need is given back.
        assert!(app.store.memory().bytes() < 1024);
        app.post("/small").key("two").send().await.assert_first(201);
        app.post("/small")
            .key("one")
            .send()
            .await
            .assert_replay_of(&first);
    }

    async fn sec9_a_full_store_fills_to_the_last_place_whoever_comes(framework: Framework) {
        let app = full(framework, |store| store.max_entries(5)).await;
        let mut connections = Vec::new();
        for key in 0..20 {
            let request = app
                .post("/small")
                .key(key.to_string())
                .plan(&Plan::gate("g"));
            connections.push(request.open().await);
        }
        app.world.entered(5).await;
        app.store.asked(Verb::Claim, 20).await;
        app.world.open("g");
        let mut done = 0;
        for connection in &mut connections {
            let response = connection.response().await;
            if response.status == 201 {
                done += 1;
            } else {
                response.assert_problem(503, "store-full");
            }
        }
        assert_eq!(done, 5);
        assert_eq!(app.world.entries(), 5);
    }
    async fn sec9_a_body_that_decodes_to_nothing_for_ever_is_too_large(framework: Framework) {
        let app = framework.start().await;
        // The head of a gzip file, and empty blocks that say that others follow.
        let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        let nothing = [0, 0, 0, 0xff, 0xff].repeat(1000);
        let mut chunks = vec![&head[..]];
        chunks.extend(vec![&nothing[..]; 200]);
        let request = app.post("/pay").key("k").header("content-encoding", "gzip");
        let response = request.chunked(&chunks).send().await;
        match framework {
            // What was sent is the body, and a million bytes are not too many.
            Framework::Axum => drop(response.assert_first(201)),
            Framework::Actix => drop(response.assert_problem(413, "body-too-large")),
        }
    }
    async fn a_claim_in_a_full_store_sweeps_no_more_than_it_needs(framework: Framework) {
        let app = full(framework, |store| store.max_entries(1000)).await;
        for key in 0..1000 {
            app.post("/small").key(format!("{key}")).send().await.assert_first(201);
        }
        let store = app.store.memory();
        let before = store.entries();
        app.clock.advance(Duration::from_hours(366 * 24));
        app.post("/small").key("one-more").send().await.assert_first(201);
        assert!(before > 900 && store.entries() > 500, "{before}, {}", store.entries());
    }
}
