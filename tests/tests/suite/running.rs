//! §6: the handler runs to its end, whatever becomes of its client, and of itself.

use idempotent_runtime::Outcome;
use idempotent_tests::{App, Fault, Panics, Plan, Request, Verb, both, eventually, every, soon};

/// The ways in which a client goes away.
const WAYS: [&str; 3] = ["FIN", "RST", "half-close"];

/// Sends a request and goes away when the handler has been entered so many times.
async fn abandon(app: &App, request: &Request, way: &str, entries: usize) {
    let mut connection = request.open().await;
    app.world.entered(entries).await;
    match way {
        "FIN" => connection.close(),
        "RST" => connection.reset(),
        _ => {
            connection.half_close().await;
            // The server may answer all the same.
            tokio::spawn(async move {
                let _ = connection.is_hung_up().await;
            });
        }
    }
}

every! {
    async fn sec2_of_fifty_concurrent_requests_one_runs(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/pay").key("k").body("one").plan(&Plan::gate("g"));
        let mut connections = Vec::new();
        for _ in 0..50 {
            connections.push(request.open().await);
        }
        eventually("49 are answered", || app.events.outcomes().len() == 49).await;
        assert_eq!(app.world.entries(), 1);
        app.world.open("g");
        let mut first = None;
        let mut in_flight = 0;
        for connection in &mut connections {
            let response = connection.response().await;
            if response.status == 201 {
                response.assert_first(201);
                assert!(first.replace(response).is_none(), "one runs");
            } else {
                response.assert_problem(409, "in-flight");
                assert_eq!(response.header("retry-after"), Some(&b"1"[..]));
                in_flight += 1;
            }
        }
        assert_eq!(in_flight, 49);
        assert_eq!(app.world.effects(), 1);
        app.post("/pay")
            .key("k")
            .body("one")
            .send()
            .await
            .assert_replay_of(&first.unwrap());
    }

    async fn sec2_many_keys_at_once_run_side_by_side(setting: Setting) {
        let app = setting.start().await;
        let mut connections = Vec::new();
        for key in 0..20 {
            let request = app.post("/pay").key(key.to_string()).plan(&Plan::gate("g"));
            connections.push(request.open().await);
        }
        app.world.entered(20).await;
        assert_eq!(app.idempotency.running(), 20);
        app.world.open("g");
        for connection in &mut connections {
            connection.response().await.assert_first(201);
        }
        assert_eq!(app.world.effects(), 20);
    }

    async fn sec6_the_handler_runs_in_the_task_of_its_request(setting: Setting) {
        let app = setting.start().await;
        let mut connection = app.post("/bare").open().await;
        connection.response().await;
        for key in ["k", "l"] {
            connection.write(&app.post("/pay").key(key)).await;
            connection.response().await.assert_first(201);
        }
        let notes = app.world.notes();
        let tasks: Vec<&String> = notes
            .iter()
            .filter(|note| note.starts_with("task"))
            .collect();
        assert_eq!(tasks.len(), 3);
        assert!(tasks[0].contains("Some"), "{tasks:?}");
        assert!(tasks.iter().all(|task| *task == tasks[0]), "{tasks:?}");
    }

    async fn sec6_the_server_lets_go_of_a_client_and_not_of_the_handler(setting: Setting) {
        let app = setting.start().await;
        // Long enough for the server to notice that the client is gone, and to drop the request.
        let request = app.post("/pay").key("k").body("one");
        abandon(&app, &request.clone().plan(&Plan::gate("g")), "RST", 1).await;
        for _ in 0..20 {
            app.post("/bare").send().await.assert_first(201);
            request.send().await.assert_problem(409, "in-flight");
        }
        app.world.open("g");
        soon("the handler finishes", app.idempotency.drain()).await;
        assert!(request.send().await.is_replay());
    }

    async fn sec6_a_release_of_a_handler_whose_client_went_away_counts(setting: Setting) {
        let app = setting.start().await;
        for (index, way) in WAYS.into_iter().enumerate() {
            let request = app.post("/pay").key(way);
            let plan = Plan {
                release: true,
                ..Plan::gate(way)
            };
            abandon(&app, &request.clone().plan(&plan), way, 2 * index + 1).await;
            app.world.open(way);
            soon("the handler finishes", app.idempotency.drain()).await;
            request.send().await.assert_first(201);
        }
        assert_eq!(app.world.effects(), 3);
    }

    async fn sec6_a_large_response_to_nobody_leaves_its_mark(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/small").key("k");
        let plan = Plan {
            gate: Some("g".to_owned()),
            ..Plan::stream(10, 1000)
        };
        abandon(&app, &request.clone().plan(&plan), "RST", 1).await;
        app.world.open("g");
        soon("the handler finishes", app.idempotency.drain()).await;
        request
            .send()
            .await
            .assert_problem(409, "response-not-kept");
        assert_eq!(app.world.effects(), 1);
    }

    async fn sec6_a_panic_before_the_effect_is_a_recorded_500(setting: Setting) {
        let app = setting.start().await;
        panics(&app, Panics::Before, 0).await;
    }

    async fn sec6_a_panic_after_the_effect_is_a_recorded_500(setting: Setting) {
        let app = setting.start().await;
        panics(&app, Panics::After, 1).await;
    }

    async fn sec6_a_panic_of_a_handler_whose_client_went_away_is_recorded(setting: Setting) {
        let app = setting.start().await;
        for (index, way) in WAYS.into_iter().enumerate() {
            let request = app.post("/pay").key(way);
            let plan = Plan {
                gate: Some(way.to_owned()),
                ..Plan::panics(Panics::After)
            };
            abandon(&app, &request.clone().plan(&plan), way, index + 1).await;
            app.world.open(way);
            soon("the handler ends", app.idempotency.drain()).await;
            let retry = request.send().await;
            assert_eq!((retry.status, retry.is_replay()), (500, true), "{way}");
        }
        assert_eq!(app.world.effects(), 3);
        assert_eq!(app.events.count(Outcome::Panicked), 3);
    }

    async fn sec6_drain_waits_for_the_handlers_that_run(setting: Setting) {
        let app = setting.start().await;
        soon("there is nothing to wait for", app.idempotency.drain()).await;
        let [one, two] = ["one", "two"].map(|key| app.post("/pay").key(key).plan(&Plan::gate(key)));
        let mut attached = one.open().await;
        app.world.entered(1).await;
        abandon(&app, &two, "RST", 2).await;
        let idempotency = app.idempotency.clone();
        let drained = tokio::spawn(async move { idempotency.drain().await });
        app.world.open("one");
        attached.response().await.assert_first(201);
        app.post("/pay").key("three").send().await.assert_first(201);
        assert_eq!(app.idempotency.running(), 1);
        assert!(
            !drained.is_finished(),
            "one that nobody waits for is running"
        );
        app.world.open("two");
        soon("the last handler ends", drained).await.unwrap();
        assert_eq!(app.world.effects(), 3);
    }
}

both! {
    async fn sec6_the_handler_finishes_when_the_client_goes_away(framework: Framework) {
        let app = framework.start().await;
        for (index, way) in WAYS.into_iter().enumerate() {
            let request = app.post("/pay").key(way).body("one");
            abandon(
                &app,
                &request.clone().plan(&Plan::gate(way)),
                way,
                index + 1,
            )
            .await;
            // The key is neither free nor forgotten.
            request.send().await.assert_problem(409, "in-flight");
            assert_eq!(app.idempotency.running(), 1, "{way}");
            app.world.open(way);
            soon("the handler finishes", app.idempotency.drain()).await;
            assert_eq!(app.world.effects(), index + 1, "{way}");
            let retry = request.send().await;
            assert_eq!(retry.status, 201);
            assert!(retry.is_replay(), "{way}");
            assert_eq!(retry.text(), format!("effect {}", index + 1));
            assert_eq!(app.world.entries(), index + 1, "{way}");
        }
        assert_eq!(app.store.abandoned(), 0);
        assert_eq!(app.events.count(Outcome::Executed), 3);
    }

    /// The effect has happened, and its record is on its way to the store.
    async fn sec6_a_client_that_goes_away_while_the_outcome_is_recorded(framework: Framework) {
        let app = framework.start().await;
        app.store.hang(Verb::Complete, Fault::Before);
        let request = app.post("/pay").key("k");
        let connection = request.open().await;
        app.store.asked(Verb::Complete, 1).await;
        connection.reset();
        request.send().await.assert_problem(409, "in-flight");
        app.store.heal(Verb::Complete);
        soon("the outcome is recorded", app.idempotency.drain()).await;
        assert!(request.send().await.is_replay());
        assert_eq!(app.world.effects(), 1);
        assert_eq!(app.store.abandoned(), 0);
    }

    async fn sec3_a_client_that_goes_away_while_the_claim_is_asked_for(framework: Framework) {
        // The store has not got to it, or has granted it already.
        for fault in [Fault::Before, Fault::After] {
            for way in ["FIN", "RST"] {
                let app = framework.start().await;
                app.store.hang(Verb::Claim, fault);
                let request = app.post("/pay").key("k");
                let connection = request.open().await;
                app.store.asked(Verb::Claim, 1).await;
                if way == "RST" {
                    connection.reset();
                } else {
                    connection.close();
                }
                // The server has noticed when it serves another one on the same thread; if it
                // has not, the handler runs, and that is right as well.
                for _ in 0..10 {
                    app.post("/bare").send().await.assert_first(201);
                }
                let before = app.world.entries();
                app.store.heal(Verb::Claim);
                eventually("the claim is given back, or used", || {
                    app.store.answered(Verb::Release) + app.store.answered(Verb::Complete) == 1
                })
                .await;
                let ran = app.world.entries() - before;
                assert_eq!(ran, app.store.answered(Verb::Complete));
                soon("all is settled", app.idempotency.drain()).await;
                let retry = request.send().await;
                assert_eq!(retry.is_replay(), ran == 1, "{fault:?} {way}");
                assert_eq!(app.world.entries() - before, 1);
            }
        }
    }

    async fn sec6_a_run_that_ends_with_its_process_is_run_again(framework: Framework) {
        let mut app = framework.start().await;
        let request = app.post("/lost/rerun").key("k").plan(&Plan::gate("never"));
        let mut lost = request.open().await;
        app.world.entered(1).await;
        app.restart().await;
        eventually("the run has ended", || app.idempotency.running() == 0).await;
        assert!(lost.is_hung_up().await);
        assert_eq!(app.store.abandoned(), 1);
        assert_eq!(app.events.count(Outcome::Abandoned), 1);
        app.post("/lost/rerun")
            .key("k")
            .send()
            .await
            .assert_first(201);
        assert_eq!(app.world.entries(), 2);
    }

    async fn sec6_a_run_that_ends_with_its_process_is_not_run_again_where_that_is_refused(
        framework: Framework,
    ) {
        let mut app = framework.start().await;
        let request = app.post("/lost/refuse").key("k").plan(&Plan::gate("never"));
        let _lost = request.open().await;
        app.world.entered(1).await;
        app.restart().await;
        eventually("the run has ended", || app.idempotency.running() == 0).await;
        for _ in 0..2 {
            let retry = app.post("/lost/refuse").key("k").send().await;
            let document = retry.assert_problem(409, "outcome-unknown");
            assert_eq!(document["retryable"], false);
            assert_eq!(retry.header("retry-after"), None);
        }
        let other = app.post("/lost/refuse").key("k").body("other").send().await;
        other.assert_problem(422, "key-reused");
        assert_eq!(app.world.entries(), 1);
        assert_eq!(app.events.count(Outcome::OutcomeUnknown), 2);
        // Until its ttl.
        app.clock.advance(std::time::Duration::from_hours(1));
        app.post("/lost/refuse")
            .key("k")
            .send()
            .await
            .assert_first(201);
    }

    async fn sec6_a_detached_run_that_ends_with_its_process_is_lost_too(framework: Framework) {
        let mut app = framework.start().await;
        for (path, status) in [("/lost/rerun", 201), ("/lost/refuse", 409)] {
            let request = app.post(path).key("k").plan(&Plan::gate("never"));
            let entries = app.world.entries() + 1;
            abandon(&app, &request, "RST", entries).await;
            // So that the server notices.
            for _ in 0..10 {
                app.post("/bare").send().await;
            }
            app.restart().await;
            eventually("the run has ended", || app.idempotency.running() == 0).await;
            assert_eq!(app.post(path).key("k").send().await.status, status);
        }
    }
}

async fn panics(app: &App, when: Panics, effects: usize) {
    let request = app.post("/pay").key("k").body("one");
    let bare = app.post("/bare").plan(&Plan::panics(when));
    let mut connection = bare.open().await;
    let without = connection.is_hung_up().await;
    let effects_without = app.world.effects();
    let mut connection = request.clone().plan(&Plan::panics(when)).open().await;
    let with = connection.is_hung_up().await;
    assert_eq!(
        with, without,
        "it goes on unwinding as without the attribute"
    );
    soon("the run has ended", app.idempotency.drain()).await;
    for _ in 0..2 {
        let retry = request.send().await;
        assert_eq!(retry.status, 500);
        assert!(retry.is_replay());
    }
    assert_eq!(app.world.effects(), effects_without + effects);
    assert_eq!(
        app.events.outcomes(),
        [Outcome::Panicked, Outcome::Replayed, Outcome::Replayed]
    );
    // The server lives on.
    app.post("/pay")
        .key("l")
        .body("one")
        .send()
        .await
        .assert_first(201);
    assert_eq!(app.idempotency.running(), 0);
}
