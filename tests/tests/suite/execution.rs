//! §6: the handler's own handle on its run.

use idempotent_runtime::{CommitError, Outcome};
use idempotent_tests::{Fault, Panics, Plan, Verb, both, eventually, every, soon};

every! {
    async fn sec6_a_commit_is_what_retries_get_whatever_follows(setting: Setting) {
        let app = setting.start().await;
        let commit = Plan::commit(201, "committed")
            .header("location", "/1")
            .header("x-raw", b"\xff");
        let cases = [
            ("/pay", "ok", commit.clone()),
            (
                "/pay",
                "failed",
                Plan {
                    status: Some(500),
                    ..commit.clone()
                },
            ),
            (
                "/pay",
                "try-again",
                Plan {
                    status: Some(503),
                    ..commit.clone()
                },
            ),
            (
                "/pay",
                "not-found",
                Plan {
                    status: Some(404),
                    ..commit.clone()
                },
            ),
            (
                "/pay",
                "released",
                Plan {
                    release_late: true,
                    ..commit.clone()
                },
            ),
            (
                "/small",
                "large",
                Plan {
                    body: Some(vec![b'x'; 2000]),
                    ..commit.clone()
                },
            ),
        ];
        for (index, (path, key, plan)) in cases.into_iter().enumerate() {
            let request = app.post(path).key(key).plan(&plan);
            // The first caller gets what the handler returned.
            let first = request.send().await;
            first.assert_first(plan.status.unwrap_or(201));
            assert_ne!(first.text(), "committed");
            for _ in 0..2 {
                let retry = request.send().await;
                assert!(retry.is_replay(), "{key}");
                assert_eq!((retry.status, retry.text()), (201, "committed"), "{key}");
                assert_eq!(retry.header("location"), Some(&b"/1"[..]));
                assert_eq!(retry.header("x-raw"), Some(&b"\xff"[..]));
            }
            assert_eq!(app.world.effects(), index + 1);
        }
        assert_eq!(app.events.count(Outcome::Executed), 6);
        assert_eq!(app.events.count(Outcome::Released), 0);
    }

    async fn sec6_a_commit_outlives_a_panic(setting: Setting) {
        let app = setting.start().await;
        let plan = Plan {
            panics: Some(Panics::Last),
            ..Plan::commit(201, "committed")
        };
        let request = app.post("/pay").key("k").plan(&plan);
        let _ = request.open().await.is_hung_up().await;
        soon("the run has ended", app.idempotency.drain()).await;
        let retry = request.send().await;
        assert!(retry.is_replay());
        assert_eq!((retry.status, retry.text()), (201, "committed"));
        assert_eq!(app.world.effects(), 1);
    }

    async fn sec6_a_commit_gives_the_response_back_whole(setting: Setting) {
        let app = setting.start().await;
        let whole = Plan {
            return_committed: true,
            ..Plan::commit(200, "committed")
        }
        .header("set-cookie", "a=1")
        .header("link", "1")
        .header("link", "2");
        let request = app.post("/pay").key("whole").plan(&whole);
        let first = request.send().await;
        first.assert_first(200);
        assert_eq!(first.text(), "committed");
        assert_eq!(first.all("set-cookie"), [b"a=1"]);
        request.send().await.assert_replay_of(&first);

        let streaming = Plan {
            return_committed: true,
            commit: Some((200, String::new())),
            ..Plan::stream(3, 5)
        };
        let request = app.post("/pay").key("stream").plan(&streaming);
        let first = request.send().await;
        first.assert_first(200);
        assert_eq!(first.body.len(), 15);
        request.send().await.assert_replay_of(&first);
    }

    async fn sec6_a_commit_of_a_large_response_leaves_its_mark(setting: Setting) {
        let app = setting.start().await;
        let plan = Plan {
            return_committed: true,
            commit: Some((200, String::new())),
            ..Plan::stream(3, 5000)
        }
        .header("location", "/1");
        let request = app.post("/small").key("k").plan(&plan);
        let first = request.send().await;
        first.assert_first(200);
        assert_eq!(first.body.len(), 15000);
        let retry = request.send().await;
        assert_eq!(
            retry.assert_problem(409, "response-not-kept")["originalStatus"],
            200
        );
        assert_eq!(retry.header("location"), Some(&b"/1"[..]));
        assert_eq!(app.world.effects(), 1);
    }

    async fn sec6_a_second_commit_is_an_error_and_the_first_stays(setting: Setting) {
        let app = setting.start().await;
        let plan = Plan {
            commit_twice: true,
            ..Plan::commit(201, "first")
        };
        let request = app.post("/pay").key("k").plan(&plan);
        request.send().await.assert_first(201);
        assert!(app.world.notes().contains(&"Twice".to_owned()));
        let retry = request.send().await;
        assert!(retry.is_replay());
        assert_eq!(retry.text(), "first");
    }

    async fn sec6_a_release_frees_the_key_when_the_handler_returns(setting: Setting) {
        let app = setting.start().await;
        let plan = Plan {
            release: true,
            late_gate: Some("g".to_owned()),
            ..Plan::default()
        };
        let request = app.post("/pay").key("k");
        let mut running = request.clone().plan(&plan).open().await;
        app.world.entered(1).await;
        request.send().await.assert_problem(409, "in-flight");
        app.world.open("g");
        running.response().await.assert_first(201);
        request.send().await.assert_first(201);
    }

    async fn sec6_a_release_of_a_run_that_panics_has_no_effect(setting: Setting) {
        let app = setting.start().await;
        let plan = Plan {
            release: true,
            ..Plan::panics(Panics::Last)
        };
        let request = app.post("/pay").key("k").plan(&plan);
        let _ = request.open().await.is_hung_up().await;
        soon("the run has ended", app.idempotency.drain()).await;
        let retry = request.send().await;
        assert_eq!((retry.status, retry.is_replay()), (500, true));
    }

    async fn sec6_the_key_is_known_to_the_handler(setting: Setting) {
        let app = setting.start().await;
        app.post("/pay")
            .key("\"a \\\"key\\\"\"")
            .send()
            .await
            .assert_first(201);
        let seen = "protected true, key Some(\"a \\\"key\\\"\")".to_owned();
        assert!(app.world.notes().contains(&seen), "{:?}", app.world.notes());
    }

    async fn sec6_nothing_is_committed_after_the_handler_has_returned(setting: Setting) {
        let app = setting.start().await;
        for (key, status) in [("recorded", 202), ("released", 503)] {
            let request = app.post("/pay").key(key);
            let plan = Plan {
                keep: true,
                ..Plan::status(status)
            };
            let first = request.clone().plan(&plan).send().await;
            first.assert_first(status);
            let late = ::axum::response::Response::default();
            let refused = app.world.kept().commit(late).await;
            assert_eq!(refused.err(), Some(CommitError::Ended), "{key}");
            let retry = request.plan(&Plan::status(201)).send().await;
            if status == 202 {
                retry.assert_replay_of(&first);
            } else {
                retry.assert_first(201);
            }
        }
    }
}

both! {
    async fn sec6_a_commit_counts_from_when_it_is_made(framework: Framework) {
        let app = framework.start().await;
        let plan = Plan {
            late_gate: Some("g".to_owned()),
            ..Plan::commit(202, "committed")
        };
        let request = app.post("/pay").key("k").plan(&plan);
        let mut running = request.open().await;
        app.store.asked(Verb::Complete, 1).await;
        eventually("it is recorded", || app.store.answered(Verb::Complete) == 1).await;
        let retry = request.send().await;
        assert!(retry.is_replay());
        assert_eq!((retry.status, retry.text()), (202, "committed"));
        app.post("/pay")
            .key("k")
            .body("other")
            .send()
            .await
            .assert_problem(422, "key-reused");
        assert_eq!(app.idempotency.running(), 1);
        app.world.open("g");
        running.response().await.assert_first(201);
        // It is recorded once.
        assert_eq!(app.store.calls(Verb::Complete).len(), 1);
        assert_eq!(app.idempotency.running(), 0);
    }

    async fn sec6_a_commit_is_tried_again_when_the_store_fails(framework: Framework) {
        let app = framework.start().await;
        for (index, (fault, status)) in [
            (Fault::Before, 201),
            (Fault::After, 503),
            (Fault::Before, 503),
        ]
        .into_iter()
        .enumerate()
        {
            app.store.fail(Verb::Complete, 3, fault);
            let plan = Plan {
                status: Some(status),
                ..Plan::commit(201, "committed")
            };
            let request = app.post("/pay").key(index.to_string()).plan(&plan);
            request.send().await.assert_first(status);
            soon("the outcome is recorded", app.idempotency.drain()).await;
            let retry = request.send().await;
            assert!(retry.is_replay());
            assert_eq!((retry.status, retry.text()), (201, "committed"));
            assert_eq!(app.world.effects(), index + 1);
        }
    }

    async fn sec6_a_commit_of_a_run_that_lost_its_claim_is_an_error(framework: Framework) {
        let app = framework.start().await;
        let request = app.post("/pay").key("k");
        let plan = Plan {
            gate: Some("g".to_owned()),
            ..Plan::commit(201, "lost")
        };
        let mut lost = request.clone().plan(&plan).open().await;
        app.world.entered(1).await;
        app.store.lose(&app.store.calls(Verb::Claim)[0].1);
        let winner = request.send().await;
        winner.assert_first(201);
        app.world.open("g");
        // Its client is told what counts.
        lost.response().await.assert_replay_of(&winner);
        assert!(app.world.notes().contains(&"Fenced".to_owned()));
        request.send().await.assert_replay_of(&winner);
    }

    async fn sec6_a_release_frees_the_key(framework: Framework) {
        let app = framework.start().await;
        let request = app.post("/pay").key("k");
        for status in [200, 409, 500] {
            let plan = Plan {
                release: true,
                status: Some(status),
                ..Plan::default()
            };
            request
                .clone()
                .body("one")
                .plan(&plan)
                .send()
                .await
                .assert_first(status);
        }
        assert_eq!(app.store.memory().entries(), 0);
        assert_eq!(app.events.outcomes(), [Outcome::Released; 3]);
        let first = request.clone().body("two").send().await;
        first.assert_first(201);
        assert_eq!(first.text(), "effect 1");
    }

    async fn sec6_without_protection_the_handle_does_nothing(framework: Framework) {
        let app = framework.start().await;
        app.store.fail(Verb::Claim, usize::MAX, Fault::Before);
        let plan = Plan {
            return_committed: true,
            commit_twice: true,
            release_late: true,
            ..Plan::commit(200, "committed")
        };
        for request in [
            app.post("/bare"),
            app.post("/bare").key("k"),
            app.request("GET", "/pay").key("k"),
            app.post("/key/optional"),
            app.post("/down/run").key("k"),
        ] {
            let response = request.plan(&plan).send().await;
            response.assert_first(200);
            assert_eq!(response.text(), "committed");
        }
        let notes = app.world.notes();
        let of = |what: &str| notes.iter().filter(|note| *note == what).count();
        assert_eq!(of("protected false, key None"), 5);
        assert_eq!(of("committed twice"), 5);
        assert_eq!(app.store.calls(Verb::Complete).len(), 0);
        // But for the claim of which no answer came, nothing is released.
        let asked = app.store.calls(Verb::Claim)[0].1.owner;
        let released = app.store.calls(Verb::Release);
        assert!(released.iter().all(|(_, claim)| claim.owner == asked));
    }

    async fn sec2_a_fenced_commit_is_not_recorded_even_when_the_winner_is_gone(
        framework: Framework,
    ) {
        let app = framework.start().await;
        let request = app.post("/pay").key("k");
        let plan = Plan {
            gate: Some("lost".to_owned()),
            ..Plan::commit(201, "undone")
        };
        let mut lost = request.clone().plan(&plan).open().await;
        app.world.entered(1).await;
        app.store.lose(&app.store.calls(Verb::Claim)[0].1);
        let winner = request.clone().plan(&Plan::gate("winner")).open().await;
        app.world.entered(2).await;
        app.world.open("lost");
        // The winner was running when the commit came.
        lost.response().await.assert_problem(409, "in-flight");
        assert_eq!(app.store.calls(Verb::Complete).len(), 1);
        app.store.lose(&app.store.calls(Verb::Claim)[1].1);
        drop(winner);
        request.send().await.assert_first(201);
        app.world.open("winner");
        soon("all runs have ended", app.idempotency.drain()).await;
    }
}
