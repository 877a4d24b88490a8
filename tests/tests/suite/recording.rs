//! §7, and the arguments `release_on` and `ttl`: what is recorded, for how long, and replayed.

use std::time::Duration;

use idempotent_runtime::Outcome;
use idempotent_tests::{Panics, Plan, Streaming, both, every};

const HOUR: Duration = Duration::from_hours(1);
/// The least that a clock goes on.
const INSTANT: Duration = Duration::from_millis(1);

every! {
    async fn sec7_a_replay_is_the_first_response_byte_for_byte(setting: Setting) {
        let app = setting.start().await;
        let all: Vec<u8> = (0..=255).collect();
        let plan = Plan::body(&all)
            .header("content-type", "application/octet-stream")
            .header("location", "/payments/1")
            .header("etag", "\"1\"")
            .header("x-raw", b"\xff\xfe caf\xe9")
            .header("link", "</a>; rel=a")
            .header("x-between", "1")
            .header("link", "</b>; rel=\"b, c\"")
            .header("link", "</a>; rel=a")
            .header("x-empty", "")
            .header("cache-control", "no-store")
            .header("vary", "Accept, Origin")
            .header("warning", "299 - \"x\"");
        let request = app.post("/pay").key("k").plan(&plan);
        let first = request.send().await;
        first.assert_first(201);
        assert_eq!(first.body, all);
        let replay = request.send().await;
        replay.assert_replay_of(&first);
        assert_eq!(replay.header("x-raw"), Some(&b"\xff\xfe caf\xe9"[..]));
        let links: [&[u8]; 3] = [b"</a>; rel=a", b"</b>; rel=\"b, c\"", b"</a>; rel=a"];
        assert_eq!(replay.all("link"), links);
        assert_eq!(replay.all("x-empty"), [b""]);
        assert_eq!(replay.all("content-length"), [b"256"]);
        assert_eq!(replay.all("content-type"), [b"application/octet-stream"]);
        assert_eq!(app.world.effects(), 1);
    }

    async fn sec7_a_body_that_is_not_there_yet_is_recorded_whole(setting: Setting) {
        let app = setting.start().await;
        for (handlers, key, chunks) in [(1, "a", 1), (2, "b", 3)] {
            let streaming = Streaming {
                chunks,
                size: 10,
                gate: Some((0, key.to_owned())),
                fails: false,
            };
            let plan = Plan {
                stream: Some(streaming),
                ..Plan::default()
            };
            let request = app.post("/pay").key(key).plan(&plan);
            let mut connection = request.open().await;
            app.world.entered(handlers).await;
            app.world.open(key);
            let first = connection.response().await;
            first.assert_first(201);
            assert_eq!(first.body.len(), 10 * chunks);
            request.send().await.assert_replay_of(&first);
        }
    }

    /// Neither is a first response changed by the attribute, but where the protocol says so.
    async fn sec7_a_first_response_is_that_of_the_handler(setting: Setting) {
        let app = setting.start().await;
        let plans = [
            Plan::default(),
            Plan::status(204),
            Plan::status(404),
            Plan::body(""),
            Plan::body("x")
                .header("content-type", "text/plain")
                .header("set-cookie", "a=1"),
            Plan::body("x").header("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
            Plan::status(303).header("location", "/x"),
            Plan::status(304).header("etag", "\"1\""),
            Plan::stream(3, 5),
            Plan::stream(0, 0),
            Plan::stream(1, 5),
        ];
        for (index, plan) in plans.into_iter().enumerate() {
            let bare = app.post("/bare").plan(&plan).send().await;
            let protected = app
                .post("/pay")
                .key(index.to_string())
                .plan(&plan)
                .send()
                .await;
            protected.assert_first(bare.status);
            if plan.body.is_some() || plan.stream.is_some() {
                assert_eq!(protected.body, bare.body, "{plan:?}");
            }
            let names = |of: &idempotent_tests::Response| {
                let framing = ["date", "content-length", "transfer-encoding"];
                let mut headers = of.headers.clone();
                headers.retain(|(name, _)| !framing.contains(&&name[..]));
                headers.sort();
                headers
            };
            assert_eq!(names(&protected), names(&bare), "{plan:?}");
            if plan.headers.iter().any(|(name, _)| name == "date") {
                assert_eq!(protected.all("date"), bare.all("date"));
            }
        }
    }

    async fn sec7_headers_of_the_connection_and_of_the_first_caller_are_not_replayed(
        setting: Setting,
    ) {
        let app = setting.start().await;
        let plan = Plan::body("x")
            .header("set-cookie", "session=1; Path=/, x")
            .header("set-cookie", "other=2")
            .header("date", "Thu, 01 Jan 1970 00:00:00 GMT")
            .header("connection", "x-hop, X-Other-Hop")
            .header("x-hop", "1")
            .header("x-other-hop", "1")
            .header("keep-alive", "timeout=5")
            .header("proxy-authenticate", "Basic")
            .header("proxy-anything", "1")
            .header("te", "trailers")
            .header("trailer", "x-trailer")
            .header("x-kept", "1");
        let request = app.post("/pay").key("k").plan(&plan);
        let first = request.send().await;
        first.assert_first(201);
        assert_eq!(first.all("set-cookie").len(), 2);
        let replay = request.send().await;
        assert!(replay.is_replay());
        for left_out in [
            "set-cookie",
            "x-hop",
            "x-other-hop",
            "keep-alive",
            "proxy-authenticate",
            "proxy-anything",
            "te",
            "trailer",
            "upgrade",
        ] {
            assert_eq!(replay.header(left_out), None, "{left_out}");
        }
        let connection: Vec<&[u8]> = replay.all("connection");
        assert!(
            connection
                .iter()
                .all(|value| !value.windows(3).any(|part| part == b"hop"))
        );
        assert_ne!(replay.all("date"), [b"Thu, 01 Jan 1970 00:00:00 GMT"]);
        assert_eq!(replay.all("date").len(), 1);
        assert_eq!(replay.all("x-kept"), [b"1"]);
        assert_eq!(replay.body, b"x");
    }

    async fn sec7_the_length_is_computed_again(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/pay").key("k").plan(&Plan::stream(3, 4));
        let first = request.send().await;
        first.assert_first(201);
        assert_eq!(first.body, b"aaaabbbbcccc");
        let replay = request.send().await;
        replay.assert_replay_of(&first);
        assert_eq!(replay.all("content-length"), [b"12"]);
        assert_eq!(replay.header("transfer-encoding"), None);
    }

    async fn sec7_only_a_replay_is_marked(setting: Setting) {
        let app = setting.start().await;
        // Whatever the handler says.
        let plan = Plan::body("x")
            .header("idempotency-replayed", "true")
            .header("idempotency-replayed", "maybe");
        let request = app.post("/pay").key("k").plan(&plan);
        let first = request.send().await;
        assert_eq!(first.all("idempotency-replayed"), Vec::<&[u8]>::new());
        let replay = request.send().await;
        assert_eq!(replay.all("idempotency-replayed"), [b"true"]);
    }

    async fn sec7_a_first_response_is_not_marked_where_nothing_is_recorded(setting: Setting) {
        let app = setting.start().await;
        let plan = Plan::body("x").header("idempotency-replayed", "true");
        let released = Plan {
            status: Some(503),
            ..plan.clone()
        };
        let large = Plan {
            body: Some(vec![b'x'; 2000]),
            ..plan.clone()
        };
        for request in [
            app.post("/pay").key("released").plan(&released),
            app.post("/small").key("large").plan(&large),
            app.post("/key/optional").plan(&plan),
        ] {
            let first = request.send().await;
            let marks = first.all("idempotency-replayed");
            assert_eq!(marks, Vec::<&[u8]>::new(), "{request:?}");
        }
    }

    async fn sec7_errors_of_the_handler_are_recorded_too(setting: Setting) {
        let app = setting.start().await;
        let statuses = [
            200, 202, 204, 301, 302, 303, 307, 400, 401, 403, 404, 409, 410, 413, 418, 422, 428,
            500, 501, 502, 504, 599,
        ];
        for status in statuses {
            let plan = Plan::status(status).header("location", "/x");
            let request = app.post("/pay").key(status.to_string()).plan(&plan);
            let first = request.send().await;
            first.assert_first(status);
            request.send().await.assert_replay_of(&first);
        }
        assert_eq!(app.world.effects(), statuses.len());
    }

    async fn sec7_release_on_nothing_records_everything(setting: Setting) {
        let app = setting.start().await;
        for status in [429, 503, 500] {
            let request = app
                .post("/release/never")
                .key(status.to_string())
                .plan(&Plan::status(status));
            let first = request.send().await;
            first.assert_first(status);
            request.send().await.assert_replay_of(&first);
        }
        assert_eq!(app.world.effects(), 3);
    }

    async fn sec7_release_on_is_the_whole_list(setting: Setting) {
        let app = setting.start().await;
        let cases = [
            ("/release/5xx", 500, true),
            ("/release/5xx", 503, true),
            ("/release/5xx", 599, true),
            ("/release/5xx", 429, false),
            ("/release/5xx", 499, false),
            ("/release/4xx", 400, true),
            ("/release/4xx", 409, true),
            ("/release/4xx", 499, true),
            ("/release/4xx", 503, false),
            ("/release/4xx", 399, false),
            ("/release/418", 418, true),
            ("/release/418", 417, false),
            ("/release/418", 419, false),
            ("/release/418", 503, false),
        ];
        for (path, status, released) in cases {
            let request = app
                .post(path)
                .key(status.to_string())
                .plan(&Plan::status(status));
            request.send().await.assert_first(status);
            let retry = request.send().await;
            assert_eq!(retry.status, status);
            assert_eq!(retry.is_replay(), !released, "{path} {status}");
        }
    }

    async fn sec7_a_panic_counts_as_500_where_that_is_released(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/release/5xx").key("k");
        let mut panicking = request
            .clone()
            .plan(&Plan::panics(Panics::Before))
            .open()
            .await;
        // What a panic looks like is the setting's business.
        let _ = panicking.is_hung_up().await;
        request.send().await.assert_first(201);
        assert_eq!(app.world.effects(), 1);
    }

    async fn sec7_cache_control_has_no_say(setting: Setting) {
        let app = setting.start().await;
        for (index, value) in ["no-store", "private, no-cache", "max-age=0"]
            .into_iter()
            .enumerate()
        {
            let plan = Plan::default().header("cache-control", value);
            let request = app
                .post("/pay")
                .key(index.to_string())
                .header("cache-control", "no-store")
                .header("pragma", "no-cache")
                .plan(&plan);
            let first = request.send().await;
            request.send().await.assert_replay_of(&first);
        }
    }

    async fn sec7_an_empty_response_is_replayed(setting: Setting) {
        let app = setting.start().await;
        for plan in [
            Plan::status(204).header("x", "1"),
            Plan::body("").header("x", "1"),
            Plan::stream(0, 0),
        ] {
            let key =
                format!("{:?}-{:?}", plan.status, plan.stream.is_some()).replace([' ', '"'], "");
            let request = app.post("/pay").key(key).plan(&plan);
            let first = request.send().await;
            request.send().await.assert_replay_of(&first);
        }
    }
}

both! {
    async fn sec7_try_again_later_releases_the_key(framework: Framework) {
        let app = framework.start().await;
        for status in [429, 503] {
            let key = status.to_string();
            let request = app.post("/pay").key(&key).body("one");
            let plan = Plan::status(status).header("retry-after", "7");
            for _ in 0..2 {
                let response = request.clone().plan(&plan).send().await;
                response.assert_first(status);
                assert_eq!(response.header("retry-after"), Some(&b"7"[..]));
            }
            // Even for another body, and the outcome that follows is recorded.
            let request = app.post("/pay").key(&key).body("two");
            let first = request.send().await;
            first.assert_first(201);
            request.send().await.assert_replay_of(&first);
        }
        assert_eq!(app.world.effects(), 6);
        assert_eq!(app.events.count(Outcome::Released), 4);
        assert_eq!(app.store.memory().entries(), 2);
    }

    async fn sec2_a_record_lives_for_its_ttl_and_no_longer(framework: Framework) {
        let app = framework.start().await;
        let request = app.post("/ttl/hour").key("k").body("one");
        let first = request.send().await;
        first.assert_first(201);
        app.clock.advance(HOUR.saturating_sub(INSTANT));
        request.send().await.assert_replay_of(&first);
        // A replay does not make it live longer.
        app.clock.advance(INSTANT);
        let second = request.send().await;
        second.assert_first(201);
        assert_eq!(second.text(), "effect 2");
        request.send().await.assert_replay_of(&second);
        app.clock.advance(HOUR);
        // An expired record says nothing about other requests either.
        app.post("/ttl/hour")
            .key("k")
            .body("two")
            .send()
            .await
            .assert_first(201);
    }

    async fn sec10_the_ttl_is_a_day_unless_said(framework: Framework) {
        let app = framework.start().await;
        let request = app.post("/pay").key("k");
        let first = request.send().await;
        app.clock.advance((24 * HOUR).saturating_sub(INSTANT));
        request.send().await.assert_replay_of(&first);
        app.clock.advance(INSTANT);
        request.send().await.assert_first(201);
    }

    async fn sec1_the_ttl_counts_from_completion(framework: Framework) {
        let app = framework.start().await;
        let request = app.post("/ttl/hour").key("k").body("one");
        let mut running = request.clone().plan(&Plan::gate("g")).open().await;
        app.world.entered(1).await;
        // However long the handler runs, its claim does not expire.
        app.clock.advance(100 * HOUR);
        request.send().await.assert_problem(409, "in-flight");
        app.world.open("g");
        let first = running.response().await;
        first.assert_first(201);
        app.clock.advance(HOUR / 2);
        request.send().await.assert_replay_of(&first);
        assert_eq!(app.world.effects(), 1);
    }
}
