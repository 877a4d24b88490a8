//! Stores that outlive a process and are shared by several: what a second server, a process that
//! is gone, one that stood still and a store that is away come to.

use std::time::{Duration, Instant};

use idempotent_runtime::{OnLost, Outcome, Reconciled, StoredResponse};
use idempotent_tests::{App, Fault, Plan, Setting, Verb, eventually, shared, soon};
use tokio::task::JoinSet;

/// With leases that end while a test waits.
async fn short_lease(setting: Setting, lease: Duration) -> App {
    let setup = setting.setup();
    setup
        .configure(move |builder| builder.lease(lease))
        .start()
        .await
}

const SHORT: Duration = Duration::from_millis(600);

/// A run whose process ends before its effect.
async fn lose(app: &mut App, path: &str) {
    let entries = app.world.entries();
    let request = app.post(path).key("k").plan(&Plan::gate("never"));
    let _connection = request.open().await;
    app.world.entered(entries + 1).await;
    app.restart().await;
    eventually("the run has ended", || app.idempotency.running() == 0).await;
}

/// A run that stands still in front of its effect, until its lease has ended: what is left of a
/// process that was stopped.
async fn stall(app: &App, path: &str, gate: &str) -> idempotent_tests::Connection {
    app.store.hang(Verb::Renew, Fault::Before);
    let entries = app.world.entries();
    let request = app.post(path).key("k").plan(&Plan::gate(gate));
    let connection = request.open().await;
    app.world.entered(entries + 1).await;
    connection
}

shared! {
    async fn of_requests_to_two_servers_one_has_an_effect(setting: Setting) {
        let app = setting.start().await;
        let other = app.sibling().await;
        let mut requests = JoinSet::new();
        for index in 0..50 {
            let server = if index % 2 == 0 { &app } else { &other };
            let request = server.post("/pay").key("k").plan(&Plan::gate("go"));
            requests.spawn(async move { request.send().await });
        }
        for _ in 0..49 {
            let refused = soon("an answer", requests.join_next()).await.unwrap().unwrap();
            refused.assert_problem(409, "in-flight");
        }
        app.world.open("go");
        let first = requests.join_next().await.unwrap().unwrap();
        first.assert_first(201);
        for server in [&app, &other] {
            server.post("/pay").key("k").send().await.assert_replay_of(&first);
        }
        assert_eq!((app.world.entries(), app.world.effects()), (1, 1));
    }

    async fn a_waiter_is_woken_by_another_server(setting: Setting) {
        let app = setting.start().await;
        let other = app.sibling().await;
        let mut delays = Vec::new();
        for round in 1..=20 {
            let (key, gate) = (format!("k{round}"), format!("gate {round}"));
            let plan = Plan::gate(&gate);
            let first = app.post("/wait/long").key(&key).plan(&plan);
            let first = tokio::spawn(async move { first.send().await });
            app.world.entered(round).await;
            let waiter = other.post("/wait/long").key(&key);
            let waiter = tokio::spawn(async move { waiter.send().await });
            // It has been told that there is a run, and waits for it.
            eventually("the waiter asks", || other.store.answered(Verb::Claim) >= 2 * round - 1)
                .await;
            app.world.open(&gate);
            let first = soon("the first", first).await.unwrap();
            let completed = Instant::now();
            let waited = soon("the waiter", waiter).await.unwrap();
            delays.push(completed.elapsed());
            waited.assert_replay_of(&first);
            assert_eq!(app.world.entries(), round);
            // Of so many one is not held up by whatever else the machine does.
            if delays[round - 1] <= Duration::from_millis(100) {
                return;
            }
        }
        panic!("nobody is woken at once: {delays:?}");
    }

    async fn a_lost_run_is_told_apart_by_its_lease(setting: Setting) {
        let mut app = short_lease(setting, Duration::from_secs(4)).await;
        lose(&mut app, "/lost/rerun").await;
        let retry = app.post("/lost/rerun").key("k");
        let refused = retry.send().await;
        refused.assert_problem(409, "in-flight");
        let after: u64 = String::from_utf8_lossy(refused.header("retry-after").unwrap())
            .parse()
            .unwrap();
        assert!((1..=4).contains(&after), "not beyond the lease: {after}");
        retry.send_until_settled().await.assert_first(201);
        retry.send().await.assert_replay(201);
        assert_eq!(app.world.effects(), 1);
    }

    async fn a_lost_run_is_refused_where_the_attribute_says_so(setting: Setting) {
        let mut app = short_lease(setting, SHORT).await;
        lose(&mut app, "/lost/refuse").await;
        let retry = app.post("/lost/refuse").key("k");
        retry.send_until_settled().await.assert_problem(409, "outcome-unknown");
        retry.send().await.assert_problem(409, "outcome-unknown");
        let other = app.post("/lost/refuse").key("k").body("other").send().await;
        other.assert_problem(422, "key-reused");
        assert_eq!(app.world.entries(), 1);
    }

    async fn what_becomes_of_a_lost_run_can_be_set_for_a_test(setting: Setting) {
        let setup = setting.setup();
        let setup = setup.configure(|builder| builder.lease(SHORT).on_lost(OnLost::Refuse));
        let mut app = setup.start().await;
        lose(&mut app, "/lost/rerun").await;
        let retry = app.post("/lost/rerun").key("k");
        retry.send_until_settled().await.assert_problem(409, "outcome-unknown");

        let setup = setting.setup();
        let setup = setup.configure(|builder| builder.lease(SHORT).on_lost(OnLost::Rerun));
        let mut app = setup.start().await;
        lose(&mut app, "/lost/refuse").await;
        let retry = app.post("/lost/refuse").key("k");
        retry.send_until_settled().await.assert_first(201);
        assert_eq!(app.world.effects(), 1);
    }

    async fn what_became_of_a_lost_run_is_asked_once(setting: Setting) {
        let headers: [(&str, &[u8]); 1] = [("location", b"/payments/7")];
        let done = StoredResponse::new(201, &headers, b"payment 7");
        let setup = setting.setup().configure(move |builder| {
            let done = done.clone();
            builder.lease(SHORT).reconcile(move |_| {
                let done = done.clone();
                async move { Reconciled::Done(done) }
            })
        });
        let mut app = setup.start().await;
        let other = app.sibling().await;
        for path in ["/lost/rerun", "/lost/refuse"] {
            lose(&mut app, path).await;
            let told = app.post(path).key("k").send_until_settled().await;
            told.assert_replay(201);
            assert_eq!(told.body, b"payment 7"[..]);
            assert_eq!(told.header("location"), Some(&b"/payments/7"[..]));
            other.post(path).key("k").send().await.assert_replay(201);
        }
        assert_eq!(app.events.count(Outcome::Reconciled), 2);
        assert_eq!(app.world.effects(), 0);
    }

    async fn a_handler_longer_than_its_lease_is_not_overtaken(setting: Setting) {
        let app = short_lease(setting, SHORT).await;
        let other = app.sibling().await;
        let request = app.post("/lost/rerun").key("k").plan(&Plan::gate("go"));
        let first = tokio::spawn(async move { request.send().await });
        app.world.entered(1).await;
        // Every third of a lease: five leases.
        app.store.asked(Verb::Renew, 15).await;
        let retry = other.post("/lost/rerun").key("k");
        retry.send().await.assert_problem(409, "in-flight");
        app.world.open("go");
        soon("the first", first).await.unwrap().assert_first(201);
        retry.send().await.assert_replay(201);
        assert_eq!(app.world.entries(), 1);
    }

    async fn a_server_that_stood_still_answers_with_the_winners_response(setting: Setting) {
        let app = short_lease(setting, SHORT).await;
        let other = app.sibling().await;
        let mut stopped = stall(&app, "/lost/rerun", "stopped").await;
        let winner = other.post("/lost/rerun").key("k").send_until_settled().await;
        winner.assert_first(201);
        app.world.open("stopped");
        stopped.response().await.assert_replay_of(&winner);
        assert_eq!(app.events.count(Outcome::Fenced), 1);
        other.post("/lost/rerun").key("k").send().await.assert_replay_of(&winner);
    }

    async fn a_server_that_stood_still_is_told_of_a_winner_that_still_runs(setting: Setting) {
        let app = short_lease(setting, SHORT).await;
        let other = app.sibling().await;
        let mut stopped = stall(&app, "/lost/rerun", "stopped").await;
        let retry = other.post("/lost/rerun").key("k").plan(&Plan::gate("winner"));
        let winner = tokio::spawn(async move { retry.send_until_settled().await });
        app.world.entered(2).await;
        app.world.open("stopped");
        stopped.response().await.assert_problem(409, "in-flight");
        app.world.open("winner");
        let winner = soon("the winner", winner).await.unwrap();
        winner.assert_first(201);
        app.post("/lost/rerun").key("k").send().await.assert_replay_of(&winner);
    }

    async fn a_claim_that_the_store_forgot_is_claimed_again(setting: Setting) {
        let app = short_lease(setting, SHORT).await;
        let other = app.sibling().await;
        let request = app.post("/lost/rerun").key("k").plan(&Plan::gate("go"));
        let first = tokio::spawn(async move { request.send().await });
        app.world.entered(1).await;
        let claim = app.store.calls(Verb::Claim)[0].1;
        // As a store that was started again without its records.
        idempotent_runtime::Store::release(&other.store, &claim).await.unwrap();
        app.store.asked(Verb::Claim, 2).await;
        eventually("it is claimed again", || app.store.answered(Verb::Claim) >= 2).await;
        let retry = other.post("/lost/rerun").key("k");
        retry.send().await.assert_problem(409, "in-flight");
        app.world.open("go");
        soon("the first", first).await.unwrap().assert_first(201);
        retry.send().await.assert_replay(201);
        assert_eq!(app.world.entries(), 1);
        assert_eq!(app.events.count(Outcome::Fenced), 0);
    }

    async fn a_late_outcome_counts_if_nobody_came(setting: Setting) {
        for path in ["/lost/rerun", "/lost/refuse"] {
            let app = short_lease(setting, SHORT).await;
            let mut stopped = stall(&app, path, "stopped").await;
            // Past the lease, and nobody has come.
            app.store.asked(Verb::Renew, 1).await;
            tokio::time::sleep(SHORT).await;
            app.world.open("stopped");
            let first = stopped.response().await;
            first.assert_first(201);
            app.post(path).key("k").send().await.assert_replay_of(&first);
            assert_eq!(app.world.entries(), 1);
        }
    }

    async fn an_outcome_that_the_store_did_not_take_arrives_later(setting: Setting) {
        for fault in [Fault::Before, Fault::After] {
            // It is told again for a second and a half, so the lease must be renewed meanwhile; and
            // is long enough that a busy machine does not stand still for all of it.
            let app = short_lease(setting, 2 * SHORT).await;
            let other = app.sibling().await;
            app.store.fail(Verb::Complete, 4, fault);
            let first = app.post("/pay").key("k").send().await;
            first.assert_first(201);
            other.post("/pay").key("k").send_until_settled().await.assert_replay_of(&first);
            soon("the outcome is recorded", app.idempotency.drain()).await;
            assert_eq!(app.world.entries(), 1);
        }
    }

    async fn a_claim_whose_answer_was_lost_is_given_back(setting: Setting) {
        let app = setting.start().await;
        let other = app.sibling().await;
        app.store.fail(Verb::Claim, 1, Fault::After);
        let request = app.post("/pay").key("k");
        request.send().await.assert_problem(503, "store-unavailable");
        assert_eq!(app.world.entries(), 0);
        other.post("/pay").key("k").send_until_settled().await.assert_first(201);
        assert_eq!(app.world.entries(), 1);
    }
}
