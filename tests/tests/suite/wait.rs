//! §3, and the argument `wait`: a retry that waits for the running one.

use std::time::{Duration, Instant};

use idempotent_runtime::Outcome;
use idempotent_tests::{
    App, Connection, Framework, Panics, Plan, Response, Steered, Verb, both, eventually, every,
    soon,
};

/// What `/wait/short` waits.
const SHORT: Duration = Duration::from_millis(200);

/// An owner that runs, as the plan says, and so many that wait for it.
async fn waiting(
    app: &App,
    path: &str,
    owner: &Plan,
    waiters: usize,
) -> (Connection, Vec<Connection>) {
    let request = app.post(path).key("k").body("one");
    let owner = Plan {
        gate: Some("owner".to_owned()),
        ..owner.clone()
    };
    let owner = request.clone().plan(&owner).open().await;
    app.world.entered(1).await;
    let mut all = Vec::new();
    for _ in 0..waiters {
        all.push(request.clone().plan(&Plan::gate("waiter")).open().await);
    }
    eventually("they know that they must wait", || {
        app.store.answered(Verb::Claim) == 1 + waiters
    })
    .await;
    (owner, all)
}

async fn responses(connections: &mut [Connection]) -> Vec<Response> {
    let mut responses = Vec::new();
    for connection in connections {
        responses.push(connection.response().await);
    }
    responses
}

every! {
    async fn sec3_when_the_owner_fails_its_failure_is_the_outcome(setting: Setting) {
        let app = setting.start().await;
        let (mut owner, mut waiters) = waiting(&app, "/wait/long", &Plan::status(500), 3).await;
        app.world.open("owner");
        let first = owner.response().await;
        first.assert_first(500);
        for response in responses(&mut waiters).await {
            response.assert_replay_of(&first);
        }
        assert_eq!(app.world.entries(), 1);
    }

    async fn sec3_when_the_owner_panics_a_500_is_the_outcome(setting: Setting) {
        let app = setting.start().await;
        let (mut owner, mut waiters) =
            waiting(&app, "/wait/long", &Plan::panics(Panics::After), 3).await;
        app.world.open("owner");
        let _ = owner.is_hung_up().await;
        for response in responses(&mut waiters).await {
            assert_eq!((response.status, response.is_replay()), (500, true));
        }
        assert_eq!(app.world.effects(), 1);
    }

    async fn sec3_when_the_response_is_not_kept_that_is_what_waiters_are_told(
        setting: Setting,
    ) {
        let app = setting.start().await;
        let large = Plan::stream(2, 1 << 20).header("location", "/1");
        let (mut owner, mut waiters) = waiting(&app, "/wait/long", &large, 3).await;
        app.world.open("owner");
        assert_eq!(owner.response().await.body.len(), 2 << 20);
        for response in responses(&mut waiters).await {
            let document = response.assert_problem(409, "response-not-kept");
            assert_eq!(document["originalStatus"], 201);
            assert_eq!(response.header("location"), Some(&b"/1"[..]));
        }
        assert_eq!(app.world.entries(), 1);
    }

    async fn sec3_when_the_owner_releases_one_who_waits_runs(setting: Setting) {
        let app = setting.start().await;
        let (mut owner, mut waiters) = waiting(&app, "/wait/long", &Plan::status(503), 8).await;
        app.world.open("owner");
        owner.response().await.assert_first(503);
        app.world.entered(2).await;
        assert_eq!(app.idempotency.running(), 1);
        assert_eq!(app.world.entries(), 2);
        app.world.open("waiter");
        let responses = responses(&mut waiters).await;
        let (replays, firsts): (Vec<_>, Vec<_>) =
            responses.iter().partition(|response| response.is_replay());
        assert_eq!((replays.len(), firsts.len()), (7, 1));
        for replay in replays {
            replay.assert_replay_of(firsts[0]);
        }
        assert_eq!(app.world.entries(), 2);
    }

    async fn sec3_who_goes_away_when_the_owner_releases_leaves_the_key_free(setting: Setting) {
        let app = setting.start().await;
        let (mut owner, waiters) = waiting(&app, "/wait/long", &Plan::status(503), 4).await;
        app.world.open("waiter");
        app.world.open("owner");
        for waiter in waiters {
            waiter.reset();
        }
        owner.response().await.assert_first(503);
        // One of them may have run for nobody; a claim without a handler is what must not stay.
        let retry = app.post("/wait/long").key("k").body("one").send().await;
        assert_eq!(retry.status, 201);
        eventually("nothing runs", || app.idempotency.running() == 0).await;
        assert!(app.world.entries() <= 3);
    }

    async fn sec10_only_so_many_wait(setting: Setting) {
        let setup = setting.setup();
        let app = setup
            .configure(|builder| builder.max_waiting(2))
            .start()
            .await;
        let (mut owner, mut waiters) = waiting(&app, "/wait/long", &Plan::default(), 2).await;
        for _ in 0..3 {
            // At once: nothing else would end this.
            let refused = app.post("/wait/long").key("k").body("one").send().await;
            refused.assert_problem(409, "in-flight");
        }
        app.world.open("owner");
        let first = owner.response().await;
        for response in responses(&mut waiters).await {
            response.assert_replay_of(&first);
        }
    }

    async fn sec10_nobody_waits_where_nobody_may(setting: Setting) {
        let setup = setting.setup();
        let app = setup
            .configure(|builder| builder.max_waiting(0))
            .start()
            .await;
        let (mut owner, mut waiters) = waiting(&app, "/wait/long", &Plan::default(), 3).await;
        for response in responses(&mut waiters).await {
            response.assert_problem(409, "in-flight");
        }
        app.world.open("owner");
        owner.response().await.assert_first(201);
    }

    async fn sec10_a_place_is_given_back_by_who_gave_up(setting: Setting) {
        let setup = setting.setup();
        let app = setup
            .configure(|builder| builder.max_waiting(1))
            .start()
            .await;
        let (_owner, waiters) = waiting(&app, "/wait/short", &Plan::default(), 0).await;
        drop(waiters);
        let request = app.post("/wait/short").key("k").body("one");
        for _ in 0..3 {
            let started = Instant::now();
            request.send().await.assert_problem(409, "in-flight");
            assert!(started.elapsed() >= SHORT, "it had a place");
        }
        app.world.open("owner");
    }

    async fn sec3_without_wait_nobody_waits(setting: Setting) {
        let app = setting.start().await;
        let mut owner = app
            .post("/pay")
            .key("k")
            .plan(&Plan::gate("g"))
            .open()
            .await;
        app.world.entered(1).await;
        app.post("/pay")
            .key("k")
            .send()
            .await
            .assert_problem(409, "in-flight");
        app.world.open("g");
        owner.response().await.assert_first(201);
    }
}

both! {
    async fn sec3_a_store_that_cannot_wake_lets_one_run_after_a_release(framework: Framework) {
        let app = polling(framework).await;
        let (mut owner, mut waiters) = waiting(&app, "/wait/long", &Plan::status(503), 3).await;
        app.world.open("waiter");
        app.world.open("owner");
        owner.response().await.assert_first(503);
        let responses = responses(&mut waiters).await;
        assert_eq!(
            responses
                .iter()
                .filter(|response| !response.is_replay())
                .count(),
            1
        );
        assert_eq!(app.world.entries(), 2);
    }

    async fn sec3_a_waiter_takes_over_when_a_lease_ends_that_nobody_tells_of(
        framework: Framework,
    ) {
        let app = framework.start().await;
        let request = app.post("/wait/long").key("k");
        // Nobody rings for a process that died.
        app.store.say_lease_left(Duration::from_millis(50));
        let mut owner = request.clone().plan(&Plan::gate("g")).open().await;
        app.world.entered(1).await;
        let mut waiter = request.open().await;
        app.store.asked(Verb::Claim, 4).await;
        app.world.open("g");
        owner.response().await.assert_first(201);
        assert!(waiter.response().await.is_replay());
    }

    async fn sec3_who_waits_gets_the_outcome(framework: Framework) {
        let app = framework.start().await;
        let (mut owner, mut waiters) = waiting(&app, "/wait/long", &Plan::default(), 10).await;
        app.world.open("owner");
        let first = owner.response().await;
        first.assert_first(201);
        for response in responses(&mut waiters).await {
            response.assert_replay_of(&first);
        }
        assert_eq!(app.world.entries(), 1);
        assert_eq!(app.events.count(Outcome::WaitedThenReplayed), 10);
        assert_eq!(app.events.count(Outcome::Executed), 1);
        // They were woken: each asked when it came, and when the outcome was there.
        assert_eq!(app.store.calls(Verb::Claim).len(), 1 + 10 * 2);
    }

    async fn sec3_when_every_owner_releases_each_runs_once(framework: Framework) {
        let app = framework.start().await;
        let request = app.post("/wait/long").key("k").plan(&Plan::status(429));
        let mut connections = Vec::new();
        for _ in 0..10 {
            connections.push(request.open().await);
        }
        for response in responses(&mut connections).await {
            response.assert_first(429);
        }
        assert_eq!(app.world.entries(), 10);
        assert_eq!(app.store.memory().entries(), 0);
    }

    async fn sec3_when_the_owner_is_lost_one_who_waits_runs(framework: Framework) {
        let app = framework.start().await;
        let (mut owner, mut waiters) = waiting(&app, "/wait/long", &Plan::default(), 3).await;
        let (_, claim) = app.store.calls(Verb::Claim)[0];
        app.store.lose(&claim);
        app.world.entered(2).await;
        app.world.open("waiter");
        let responses = responses(&mut waiters).await;
        let first = responses
            .iter()
            .find(|response| !response.is_replay())
            .unwrap();
        first.assert_first(201);
        for response in responses.iter().filter(|response| response.is_replay()) {
            response.assert_replay_of(first);
        }
        // The one that was lost is told what counts.
        app.world.open("owner");
        owner.response().await.assert_replay_of(first);
        assert_eq!(app.world.entries(), 2);
    }

    async fn sec3_when_the_owner_is_lost_nobody_runs_where_that_is_refused(framework: Framework) {
        let app = framework.start().await;
        let (_owner, mut waiters) = waiting(&app, "/wait/refuse", &Plan::default(), 3).await;
        let (_, claim) = app.store.calls(Verb::Claim)[0];
        app.store.lose(&claim);
        for response in responses(&mut waiters).await {
            response.assert_problem(409, "outcome-unknown");
        }
        assert_eq!(app.world.entries(), 1);
        app.world.open("owner");
    }

    async fn sec3_who_waited_long_enough_is_told_in_flight_and_takes_nothing_away(
        framework: Framework,
    ) {
        let app = framework.start().await;
        let (mut owner, mut waiters) = waiting(&app, "/wait/short", &Plan::default(), 3).await;
        for response in responses(&mut waiters).await {
            response.assert_problem(409, "in-flight");
            assert_eq!(response.header("retry-after"), Some(&b"1"[..]));
        }
        // The owner's claim is where it was.
        let started = Instant::now();
        let retry = app.post("/wait/short").key("k").body("one").send().await;
        retry.assert_problem(409, "in-flight");
        assert!(started.elapsed() >= SHORT, "it waits");
        assert_eq!(app.world.entries(), 1);
        app.world.open("owner");
        let first = owner.response().await;
        first.assert_first(201);
        app.post("/wait/short")
            .key("k")
            .body("one")
            .send()
            .await
            .assert_replay_of(&first);
        assert_eq!(app.world.entries(), 1);
        assert_eq!(app.store.calls(Verb::Release).len(), 0);
        assert_eq!(app.events.count(Outcome::InFlight), 4);
    }

    async fn sec3_who_goes_away_while_waiting_takes_nothing_away(framework: Framework) {
        let app = framework.start().await;
        let (mut owner, waiters) = waiting(&app, "/wait/long", &Plan::default(), 6).await;
        let mut stays = Vec::new();
        for (index, waiter) in waiters.into_iter().enumerate() {
            match index % 3 {
                0 => waiter.reset(),
                1 => waiter.close(),
                _ => stays.push(waiter),
            }
        }
        for _ in 0..10 {
            app.post("/bare").send().await.assert_first(201);
        }
        let before = app.world.entries();
        app.world.open("waiter");
        app.world.open("owner");
        let first = owner.response().await;
        first.assert_first(201);
        for response in responses(&mut stays).await {
            response.assert_replay_of(&first);
        }
        app.post("/wait/long")
            .key("k")
            .body("one")
            .send()
            .await
            .assert_replay_of(&first);
        assert_eq!(app.world.entries(), before);
        soon("nothing runs", app.idempotency.drain()).await;
    }

    async fn sec10_a_place_is_given_back_by_who_went_away(framework: Framework) {
        let setup = framework.setup();
        let app = setup
            .configure(|builder| builder.max_waiting(1))
            .start()
            .await;
        let long = app.post("/wait/long").key("k");
        let _long = long.clone().plan(&Plan::gate("g")).open().await;
        app.world.entered(1).await;
        let waiter = long.open().await;
        app.store.asked(Verb::Claim, 2).await;
        let short = app.post("/wait/short").key("k");
        let _short = short.clone().plan(&Plan::gate("g")).open().await;
        app.world.entered(2).await;
        waiter.reset();
        soon("the place is given back", async {
            loop {
                let started = Instant::now();
                short.send().await.assert_problem(409, "in-flight");
                if started.elapsed() >= SHORT {
                    break;
                }
            }
        })
        .await;
        app.world.open("g");
    }

    async fn sec3_a_store_that_cannot_wake_is_asked_again(framework: Framework) {
        let app = polling(framework).await;
        let (mut owner, mut waiters) = waiting(&app, "/wait/long", &Plan::default(), 3).await;
        app.store.asked(Verb::Claim, 1 + 3 * 3).await;
        app.world.open("owner");
        let first = owner.response().await;
        for response in responses(&mut waiters).await {
            response.assert_replay_of(&first);
        }
        assert_eq!(app.world.entries(), 1);
    }

    async fn sec3_a_store_that_fails_while_one_waits(framework: Framework) {
        let app = polling(framework).await;
        let (mut owner, mut waiters) = waiting(&app, "/wait/long", &Plan::default(), 1).await;
        app.store
            .fail(Verb::Claim, usize::MAX, idempotent_tests::Fault::Before);
        for response in responses(&mut waiters).await {
            response.assert_problem(503, "store-unavailable");
        }
        app.store.heal(Verb::Claim);
        app.world.open("owner");
        owner.response().await.assert_first(201);
    }
}

async fn polling(framework: Framework) -> App {
    let setup = framework.setup();
    let store = |clock| {
        let memory = idempotent_runtime::MemoryStore::builder()
            .clock(clock)
            .build();
        Steered::without_notification(memory)
    };
    setup.store(store).start().await
}
