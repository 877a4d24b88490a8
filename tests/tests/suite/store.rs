//! §2, §6 and §9, and the arguments `store_down`, `lease` and `on_lost`: stores that fail, hang,
//! and lose their claims.

use std::time::Duration;

use idempotent_runtime::{MemoryStore, Outcome};
use idempotent_tests::{
    App, Connection, Fault, Framework, Panics, Plan, Request, Steered, Verb, both, eventually, soon,
};

/// What `/lease/second` says.
const LEASE: Duration = Duration::from_secs(1);

async fn leased(framework: Framework) -> App {
    let setup = framework.setup();
    let store = |clock| Steered::with_lease(MemoryStore::builder().clock(clock).build());
    setup.store(store).start().await
}

/// A run that waits at the gate `lost`, and has lost its claim.
async fn lost(app: &App, request: &Request, plan: Plan) -> Connection {
    let plan = Plan {
        gate: Some("lost".to_owned()),
        ..plan
    };
    let lost = request.clone().plan(&plan).open().await;
    app.world.entered(1).await;
    app.store.lose(&app.store.calls(Verb::Claim)[0].1);
    lost
}

both! {
    async fn sec2_a_fenced_run_answers_with_the_outcome_of_the_winner(framework: Framework) {
        let app = framework.start().await;
        let request = app.post("/pay").key("k");
        let mut lost = lost(&app, &request, Plan::body("lost").header("x-lost", "1")).await;
        let winner = request
            .clone()
            .plan(&Plan::status(202).header("x-won", "1"))
            .send()
            .await;
        winner.assert_first(202);
        app.world.open("lost");
        let response = lost.response().await;
        response.assert_replay_of(&winner);
        assert_eq!(response.header("x-lost"), None);
        request.send().await.assert_replay_of(&winner);
        let told = [Outcome::Executed, Outcome::Fenced, Outcome::Replayed];
        assert_eq!(app.events.outcomes(), told);
        assert_eq!(app.idempotency.running(), 0);
    }

    async fn sec2_a_fenced_run_is_told_in_flight_while_the_winner_runs(framework: Framework) {
        let app = framework.start().await;
        let request = app.post("/pay").key("k");
        let mut lost = lost(&app, &request, Plan::default()).await;
        let mut winner = request.clone().plan(&Plan::gate("winner")).open().await;
        app.world.entered(2).await;
        app.world.open("lost");
        lost.response().await.assert_problem(409, "in-flight");
        app.world.open("winner");
        let winner = winner.response().await;
        winner.assert_first(201);
        request.send().await.assert_replay_of(&winner);
    }

    async fn sec2_a_run_that_nobody_followed_is_recorded_all_the_same(framework: Framework) {
        let app = framework.start().await;
        let request = app.post("/pay").key("k");
        let mut lost = lost(&app, &request, Plan::default()).await;
        app.world.open("lost");
        let first = lost.response().await;
        first.assert_first(201);
        request.send().await.assert_replay_of(&first);
        assert_eq!(app.world.effects(), 1);
        assert_eq!(app.events.count(Outcome::Fenced), 0);
    }

    async fn sec2_a_fenced_release_takes_nothing_from_the_winner(framework: Framework) {
        let app = framework.start().await;
        let request = app.post("/pay").key("k");
        let mut lost = lost(&app, &request, Plan::status(503)).await;
        let mut winner = request.clone().plan(&Plan::gate("winner")).open().await;
        app.world.entered(2).await;
        app.world.open("lost");
        lost.response().await.assert_first(503);
        // The winner's claim is where it was.
        request.send().await.assert_problem(409, "in-flight");
        app.world.open("winner");
        let winner = winner.response().await;
        winner.assert_first(201);
        request.send().await.assert_replay_of(&winner);
        assert_eq!(app.world.entries(), 2);
        assert_eq!(app.events.count(Outcome::Fenced), 1);
    }

    async fn sec2_a_fenced_panic_takes_nothing_from_the_winner(framework: Framework) {
        let app = framework.start().await;
        let request = app.post("/pay").key("k");
        let mut lost = lost(&app, &request, Plan::panics(Panics::Before)).await;
        let winner = request.send().await;
        winner.assert_first(201);
        app.world.open("lost");
        let _ = lost.is_hung_up().await;
        soon("the run has ended", app.idempotency.drain()).await;
        request.send().await.assert_replay_of(&winner);
    }

    async fn sec2_another_request_may_have_won(framework: Framework) {
        let app = framework.start().await;
        let request = app.post("/pay").key("k");
        let mut lost = lost(&app, &request.clone().body("one"), Plan::default()).await;
        request.clone().body("two").send().await.assert_first(201);
        app.world.open("lost");
        lost.response().await.assert_problem(422, "key-reused");
    }

    async fn sec9_a_claim_whose_answer_was_lost_is_given_back(framework: Framework) {
        let app = framework.start().await;
        let request = app.post("/pay").key("k");
        app.store.fail(Verb::Claim, 1, Fault::After);
        app.store.fail(Verb::Release, 1, Fault::Before);
        request
            .send()
            .await
            .assert_problem(503, "store-unavailable");
        soon("the claim is given back", app.idempotency.drain()).await;
        assert_eq!(app.world.entries(), 0);
        request.send().await.assert_first(201);
        assert_eq!(app.world.effects(), 1);
    }

    async fn sec6_a_renewal_that_never_answers_does_not_end_the_renewing(framework: Framework) {
        let app = leased(framework).await;
        app.store.hang(Verb::Renew, Fault::Before);
        let request = app.post("/lease/second").key("k");
        let mut running = request.plan(&Plan::gate("g")).open().await;
        app.store.asked(Verb::Renew, 3).await;
        app.world.open("g");
        running.response().await.assert_first(201);
    }

    async fn sec9_a_store_that_cannot_be_asked_refuses(framework: Framework) {
        let app = framework.start().await;
        app.store.fail(Verb::Claim, usize::MAX, Fault::Before);
        for path in ["/pay", "/down/refuse", "/wait/long"] {
            let response = app.post(path).key("k").send().await;
            let document = response.assert_problem(503, "store-unavailable");
            assert_eq!(document["retryable"], true);
            assert_eq!(response.header("retry-after"), Some(&b"1"[..]));
            assert!(
                !response.text().contains("told to fail"),
                "{}",
                response.text()
            );
        }
        assert_eq!(app.world.entries(), 0);
        assert_eq!(app.events.outcomes(), [Outcome::StoreUnavailable; 3]);
        // What needs no store goes on.
        app.post("/key/optional").send().await.assert_first(201);
        app.request("GET", "/pay").send().await.assert_first(201);
        app.store.heal(Verb::Claim);
        app.post("/pay").key("k").send().await.assert_first(201);
    }

    async fn sec9_a_store_that_cannot_be_asked_is_passed_by_where_that_is_said(
        framework: Framework,
    ) {
        let app = framework.start().await;
        app.store.fail(Verb::Claim, 2, Fault::Before);
        let request = app.post("/down/run").key("k").body("one");
        for effect in 1..=2 {
            request.send().await.assert_first(201);
            assert_eq!(app.world.effects(), effect);
            assert_eq!(app.idempotency.unprotected(), effect as u64);
        }
        assert_eq!(app.events.outcomes(), [Outcome::UnprotectedStoreDown; 2]);
        // It is asked again each time.
        let first = request.send().await;
        first.assert_first(201);
        request.send().await.assert_replay_of(&first);
        assert_eq!(app.world.effects(), 3);
        assert_eq!(app.idempotency.unprotected(), 2);
    }

    async fn sec2_an_outcome_that_is_not_recorded_is_tried_again(framework: Framework) {
        let app = framework.start().await;
        let request = app.post("/pay").key("k").body("one");
        app.store.fail(Verb::Complete, 3, Fault::Before);
        // The effect has happened, and its client is told.
        let first = request.send().await;
        first.assert_first(201);
        request.send().await.assert_problem(409, "in-flight");
        assert_eq!(app.idempotency.running(), 1);
        soon("the outcome is recorded", app.idempotency.drain()).await;
        request.send().await.assert_replay_of(&first);
        assert_eq!(app.world.effects(), 1);
        assert_eq!(app.store.calls(Verb::Complete).len(), 4);
        assert_eq!(app.store.calls(Verb::Release).len(), 0);
        assert_eq!(app.store.abandoned(), 0);
        let told = [
            Outcome::CompletionDelayed,
            Outcome::InFlight,
            Outcome::Executed,
            Outcome::Replayed,
        ];
        assert_eq!(app.events.outcomes(), told);
    }

    /// The store has recorded it, and its answer was lost: the second attempt is no conflict.
    async fn sec2_an_outcome_whose_recording_was_not_confirmed_is_recorded_once(
        framework: Framework,
    ) {
        let app = framework.start().await;
        let request = app.post("/pay").key("k");
        app.store.fail(Verb::Complete, 2, Fault::After);
        let first = request.send().await;
        first.assert_first(201);
        request.send().await.assert_replay_of(&first);
        soon("the outcome is confirmed", app.idempotency.drain()).await;
        request.send().await.assert_replay_of(&first);
        assert_eq!(app.events.count(Outcome::Fenced), 0);
        assert_eq!(app.world.effects(), 1);
    }

    async fn sec2_a_failure_or_a_panic_that_is_not_recorded_is_tried_again(framework: Framework) {
        let app = framework.start().await;
        for (key, plan) in [
            ("failure", Plan::status(500)),
            ("panic", Plan::panics(Panics::After)),
        ] {
            app.store.fail(Verb::Complete, 1, Fault::Before);
            let request = app.post("/pay").key(key);
            let _ = request.clone().plan(&plan).open().await.is_hung_up().await;
            soon("the outcome is recorded", app.idempotency.drain()).await;
            let retry = request.send().await;
            assert_eq!((retry.status, retry.is_replay()), (500, true));
        }
        assert_eq!(app.world.effects(), 2);
    }

    async fn sec2_an_outcome_of_a_client_that_went_away_is_tried_again(framework: Framework) {
        let app = framework.start().await;
        app.store.fail(Verb::Complete, 2, Fault::Before);
        let request = app.post("/pay").key("k");
        let connection = request.clone().plan(&Plan::gate("g")).open().await;
        app.world.entered(1).await;
        connection.reset();
        app.world.open("g");
        soon("the outcome is recorded", app.idempotency.drain()).await;
        assert!(request.send().await.is_replay());
        assert_eq!(app.world.effects(), 1);
    }

    async fn sec2_a_key_that_cannot_be_released_does_not_keep_the_response_back(
        framework: Framework,
    ) {
        let app = framework.start().await;
        let request = app.post("/pay").key("k");
        app.store.fail(Verb::Release, 2, Fault::Before);
        request
            .clone()
            .plan(&Plan::status(503))
            .send()
            .await
            .assert_first(503);
        // It is known that nothing has happened, so it is tried again, and never counts as lost.
        soon("the key is released", app.idempotency.drain()).await;
        assert_eq!(app.store.calls(Verb::Release).len(), 3);
        assert_eq!(app.store.abandoned(), 0);
        request.send().await.assert_first(201);
    }

    async fn sec6_a_lease_is_renewed_for_as_long_as_the_handler_runs(framework: Framework) {
        let app = leased(framework).await;
        let request = app.post("/lease/second").key("k").plan(&Plan::gate("g"));
        let mut running = request.open().await;
        app.store.asked(Verb::Renew, 4).await;
        let calls = app.store.calls(Verb::Renew);
        let (claimed, claim) = app.store.calls(Verb::Claim)[0];
        let mut before = claimed;
        for (at, renewed) in calls {
            assert_eq!(renewed.owner, claim.owner);
            assert_eq!(renewed.lease, LEASE);
            let gap = at - before;
            assert!(gap >= LEASE / 3 && gap < LEASE, "{gap:?}");
            before = at;
        }
        app.world.open("g");
        running.response().await.assert_first(201);
        let renewals = app.store.calls(Verb::Renew).len();
        // Not after its end. Another run is renewed on the same beat.
        let mut other = app
            .post("/lease/second")
            .key("l")
            .plan(&Plan::gate("h"))
            .open()
            .await;
        app.store.asked(Verb::Renew, renewals + 2).await;
        let (_, other_claim) = app.store.calls(Verb::Claim)[1];
        for (_, renewed) in &app.store.calls(Verb::Renew)[renewals..] {
            assert_eq!(renewed.owner, other_claim.owner);
        }
        app.world.open("h");
        other.response().await.assert_first(201);
    }

    async fn sec10_the_lease_is_thirty_seconds_unless_said(framework: Framework) {
        let app = leased(framework).await;
        app.post("/pay").key("k").send().await.assert_first(201);
        assert_eq!(
            app.store.calls(Verb::Claim)[0].1.lease,
            Duration::from_secs(30)
        );
    }

    async fn sec6_a_lease_is_renewed_when_the_client_went_away(framework: Framework) {
        let app = leased(framework).await;
        let request = app.post("/lease/second").key("k");
        let running = request.clone().plan(&Plan::gate("g")).open().await;
        app.world.entered(1).await;
        running.reset();
        app.store.asked(Verb::Renew, 4).await;
        app.world.open("g");
        soon("the handler ends", app.idempotency.drain()).await;
        assert!(request.send().await.is_replay());
    }

    async fn sec6_a_renewal_that_fails_is_tried_again(framework: Framework) {
        let app = leased(framework).await;
        app.store.fail(Verb::Renew, 2, Fault::Before);
        let request = app.post("/lease/second").key("k");
        let mut running = request.clone().plan(&Plan::gate("g")).open().await;
        app.store.asked(Verb::Renew, 4).await;
        app.world.open("g");
        let first = running.response().await;
        first.assert_first(201);
        request.send().await.assert_replay_of(&first);
    }

    async fn sec6_a_renewal_does_not_hold_the_handler_up(framework: Framework) {
        let app = leased(framework).await;
        app.store.hang(Verb::Renew, Fault::Before);
        let request = app.post("/lease/second").key("k");
        let mut running = request.clone().plan(&Plan::gate("g")).open().await;
        app.store.asked(Verb::Renew, 1).await;
        app.world.open("g");
        let first = running.response().await;
        first.assert_first(201);
        request.send().await.assert_replay_of(&first);
        soon("nothing runs", app.idempotency.drain()).await;
    }

    async fn sec6_a_renewal_that_is_fenced_is_told(framework: Framework) {
        let app = leased(framework).await;
        let request = app.post("/lease/second").key("k");
        let mut running = request.clone().plan(&Plan::gate("g")).open().await;
        app.world.entered(1).await;
        app.store.lose(&app.store.calls(Verb::Claim)[0].1);
        let winner = request.send().await;
        winner.assert_first(201);
        eventually("it is told", || app.events.count(Outcome::Fenced) == 1).await;
        // The handler goes on; its effect may have happened.
        app.world.open("g");
        running.response().await.assert_replay_of(&winner);
        assert_eq!(app.events.count(Outcome::Fenced), 1);
    }

    async fn sec2_a_lease_is_renewed_while_an_outcome_is_tried_again(framework: Framework) {
        let app = leased(framework).await;
        app.store.fail(Verb::Complete, usize::MAX, Fault::Before);
        let request = app.post("/lease/second").key("k");
        let first = request.send().await;
        first.assert_first(201);
        app.store.asked(Verb::Renew, 6).await;
        request.send().await.assert_problem(409, "in-flight");
        let calls = app.store.calls(Verb::Renew);
        for pair in calls.windows(2) {
            assert!(pair[1].0 - pair[0].0 < LEASE);
        }
        app.store.heal(Verb::Complete);
        soon("the outcome is recorded", app.idempotency.drain()).await;
        request.send().await.assert_replay_of(&first);
        assert_eq!(app.world.effects(), 1);
    }

    /// The effect has happened: another run while the store thinks would be a second effect.
    async fn sec2_a_lease_is_renewed_while_the_store_is_slow_to_record_an_outcome(
        framework: Framework,
    ) {
        let app = leased(framework).await;
        app.store.hang(Verb::Complete, Fault::Before);
        let request = app.post("/lease/second").key("k");
        let mut running = request.open().await;
        app.store.asked(Verb::Complete, 1).await;
        let renewals = app.store.calls(Verb::Renew).len();
        app.store.asked(Verb::Renew, renewals + 4).await;
        app.store.heal(Verb::Complete);
        running.response().await.assert_first(201);
    }

    async fn sec2_a_lease_is_renewed_while_the_store_is_slow_to_record_an_outcome_again(
        framework: Framework,
    ) {
        let app = leased(framework).await;
        app.store.fail(Verb::Complete, 1, Fault::Before);
        let request = app.post("/lease/second").key("k");
        request.send().await.assert_first(201);
        app.store.hang(Verb::Complete, Fault::Before);
        app.store.asked(Verb::Complete, 2).await;
        let renewals = app.store.calls(Verb::Renew).len();
        app.store.asked(Verb::Renew, renewals + 4).await;
        app.store.heal(Verb::Complete);
        soon("the outcome is recorded", app.idempotency.drain()).await;
    }

    async fn sec6_a_commit_that_is_slow_keeps_the_lease(framework: Framework) {
        let app = leased(framework).await;
        app.store.hang(Verb::Complete, Fault::Before);
        let request = app
            .post("/lease/second")
            .key("k")
            .plan(&Plan::commit(201, "committed"));
        let mut running = request.open().await;
        app.store.asked(Verb::Complete, 1).await;
        app.store.asked(Verb::Renew, 4).await;
        app.store.heal(Verb::Complete);
        running.response().await.assert_first(201);
    }

    async fn sec9_a_store_in_memory_is_not_asked_to_renew(framework: Framework) {
        let app = framework.start().await;
        // Beside one that is, so that there was time for it.
        let beat = leased(framework).await;
        let mut both = Vec::new();
        for app in [&app, &beat] {
            both.push(
                app.post("/lease/second")
                    .key("k")
                    .plan(&Plan::gate("g"))
                    .open()
                    .await,
            );
            app.world.entered(1).await;
        }
        beat.store.asked(Verb::Renew, 2).await;
        assert_eq!(app.store.calls(Verb::Renew).len(), 0);
        app.world.open("g");
        beat.world.open("g");
        for connection in &mut both {
            connection.response().await.assert_first(201);
        }
    }

    async fn sec2_one_question_for_each_request(framework: Framework) {
        let app = framework.start().await;
        let request = app.post("/pay").key("k");
        let calls = |verb| app.store.calls(verb).len();
        request.send().await.assert_first(201);
        assert_eq!((calls(Verb::Claim), calls(Verb::Complete)), (1, 1));
        request.send().await;
        assert_eq!((calls(Verb::Claim), calls(Verb::Complete)), (2, 1));
        let released = app.post("/pay").key("l").plan(&Plan::status(503));
        released.send().await.assert_first(503);
        assert_eq!(
            (
                calls(Verb::Claim),
                calls(Verb::Complete),
                calls(Verb::Release)
            ),
            (3, 1, 1)
        );
    }

    async fn sec2_every_claim_has_an_owner_of_its_own(framework: Framework) {
        let app = framework.start().await;
        for key in 0..10 {
            app.post("/pay")
                .key(key.to_string())
                .send()
                .await
                .assert_first(201);
            app.post("/pay").key("0").send().await;
        }
        let mut owners: Vec<u128> = app
            .store
            .calls(Verb::Claim)
            .iter()
            .map(|(_, claim)| claim.owner.get())
            .collect();
        owners.sort_unstable();
        owners.dedup();
        assert_eq!(owners.len(), 20);
    }
}
