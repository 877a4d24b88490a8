//! §2, §6: a store that answers late, or has forgotten a claim whose run is not over.

use std::time::Duration;

use idempotent_runtime::{MemoryStore, OwnerToken, Store as _};
use idempotent_tests::{App, Fault, Framework, Plan, Steered, Verb, both, eventually, soon};

/// How many keys that are freed late may be tried for at a time.
const LATE_PLACES: usize = 1024;

/// Each claim reserves room for the largest response.
const ROOM: u64 = 4 << 30;

async fn leased(framework: Framework) -> App {
    let setup = framework.setup();
    let store = |clock| {
        let memory = MemoryStore::builder().clock(clock).max_bytes(ROOM);
        Steered::with_lease(memory.build())
    };
    setup.store(store).start().await
}

/// More than a third of the lease of a second.
const MUCH_OF_A_LEASE: Duration = Duration::from_millis(400);

/// Lets more than a third of a lease pass, on the beat of another run's renewals.
async fn much_of_a_lease(framework: Framework) {
    let beat = leased(framework).await;
    let request = beat.post("/lease/second").key("k").plan(&Plan::gate("g"));
    let mut running = request.open().await;
    beat.store.asked(Verb::Renew, 2).await;
    beat.world.open("g");
    running.response().await.assert_first(201);
}

/// A run whose claim the store has forgotten, and whose renewal does as it is told.
async fn forgotten(app: &App, plan: &Plan) -> idempotent_tests::Connection {
    let request = app.post("/lease/second").key("k").plan(plan);
    let running = request.open().await;
    app.world.entered(1).await;
    app.store.lose(&app.store.calls(Verb::Claim)[0].1);
    running
}

both! {
    async fn sec6_a_claim_that_took_much_of_its_lease_is_made_sure_of(framework: Framework) {
        let app = leased(framework).await;
        app.store.hang(Verb::Claim, Fault::After);
        let mut running = app.post("/lease/second").key("k").open().await;
        app.store.asked(Verb::Claim, 1).await;
        much_of_a_lease(framework).await;
        app.store.hang(Verb::Renew, Fault::Before);
        app.store.heal(Verb::Claim);
        // Before the handler, and not beside it.
        app.store.asked(Verb::Renew, 1).await;
        assert_eq!(app.world.effects(), 0);
        app.store.heal(Verb::Renew);
        running.response().await.assert_first(201);
        assert_eq!(app.store.calls(Verb::Renew).len(), 1);
    }

    async fn sec6_a_claim_that_was_lost_before_its_answer_runs_nothing(framework: Framework) {
        let app = leased(framework).await;
        app.store.hang(Verb::Claim, Fault::After);
        let mut late = app.post("/lease/second").key("k").open().await;
        app.store.asked(Verb::Claim, 1).await;
        much_of_a_lease(framework).await;
        let claim = app.store.calls(Verb::Claim)[0].1;
        app.store.lose(&claim);
        let mut rival = claim;
        rival.owner = OwnerToken::new(1);
        app.store.memory().claim(&rival).await.unwrap();
        app.store.heal(Verb::Claim);
        late.response().await.assert_problem(409, "in-flight");
        assert_eq!(app.world.effects(), 0);
    }

    async fn sec6_a_claim_that_was_lost_before_it_was_made_sure_of_runs_nothing(
        framework: Framework,
    ) {
        let app = leased(framework).await;
        app.store.hang(Verb::Claim, Fault::After);
        let mut late = app.post("/lease/second").key("k").open().await;
        app.store.asked(Verb::Claim, 1).await;
        much_of_a_lease(framework).await;
        // It is renewed in time, and told so when that is over.
        app.store.hang(Verb::Renew, Fault::After);
        app.store.heal(Verb::Claim);
        app.store.asked(Verb::Renew, 1).await;
        much_of_a_lease(framework).await;
        let claim = app.store.calls(Verb::Claim)[0].1;
        app.store.lose(&claim);
        let mut rival = claim;
        rival.owner = OwnerToken::new(1);
        app.store.memory().claim(&rival).await.unwrap();
        app.store.heal(Verb::Renew);
        late.response().await.assert_problem(409, "in-flight");
        assert_eq!(app.world.effects(), 0);
    }

    async fn sec6_a_claim_that_a_slow_store_cannot_make_sure_of_runs_nothing(
        framework: Framework,
    ) {
        let app = leased(framework).await;
        let request = app.post("/lease/second").key("k");
        for verb in [Verb::Claim, Verb::Renew] {
            app.store.slow(verb, MUCH_OF_A_LEASE);
        }
        let mut late = request.open().await;
        late.response().await.assert_problem(503, "store-unavailable");
        soon("the key is free", app.idempotency.drain()).await;
        assert_eq!(app.world.effects(), 0);
        for verb in [Verb::Claim, Verb::Renew] {
            app.store.heal(verb);
        }
        request.send().await.assert_first(201);
    }

    async fn sec6_a_lease_is_renewed_while_a_claim_that_came_back_is_not_answered(
        framework: Framework,
    ) {
        let app = leased(framework).await;
        let mut running = forgotten(&app, &Plan::gate("g")).await;
        app.store.hang(Verb::Claim, Fault::After);
        app.store.asked(Verb::Claim, 2).await;
        let renewals = app.store.calls(Verb::Renew).len();
        app.store.asked(Verb::Renew, renewals + 3).await;
        // Claimed once, and renewed from there on.
        assert_eq!(app.store.calls(Verb::Claim).len(), 2);
        app.store.heal(Verb::Claim);
        app.world.open("g");
        running.response().await.assert_first(201);
        let retry = app.post("/lease/second").key("k").send().await;
        retry.assert_replay(201);
        assert_eq!(app.world.effects(), 1);
    }

    async fn sec6_a_commit_that_the_store_has_forgotten_is_told_again(framework: Framework) {
        let app = leased(framework).await;
        let mut plan = Plan::commit(201, "committed");
        plan.late_gate = Some("g".to_owned());
        plan.return_committed = true;
        let request = app.post("/lease/second").key("k");
        let mut running = request.clone().plan(&plan).open().await;
        eventually("it is committed", || app.store.answered(Verb::Complete) == 1).await;
        // All that is there is over, as in a store that was emptied.
        app.clock.advance(Duration::from_hours(25));
        eventually("it is claimed", || app.store.answered(Verb::Claim) == 2).await;
        app.world.open("g");
        let first = running.response().await;
        first.assert_first(201);
        request.send().await.assert_replay_of(&first);
        assert_eq!(app.world.effects(), 1);
    }

    async fn sec6_a_claim_that_cannot_be_made_sure_of_is_given_back(framework: Framework) {
        let app = leased(framework).await;
        app.store.hang(Verb::Claim, Fault::After);
        let request = app.post("/lease/second").key("k");
        let mut late = request.open().await;
        app.store.asked(Verb::Claim, 1).await;
        much_of_a_lease(framework).await;
        app.store.fail(Verb::Renew, 1, Fault::Before);
        app.store.heal(Verb::Claim);
        late.response().await.assert_problem(503, "store-unavailable");
        soon("the key is free", app.idempotency.drain()).await;
        assert_eq!(app.world.effects(), 0);
        request.send().await.assert_first(201);
    }

    async fn sec6_a_forgotten_claim_is_asked_for_until_it_is_answered(framework: Framework) {
        let app = leased(framework).await;
        app.store.fail_after(Verb::Claim, 1, 1, Fault::Before);
        let mut running = forgotten(&app, &Plan::gate("g")).await;
        // Granted, failed, granted again.
        app.store.asked(Verb::Claim, 3).await;
        eventually("it is answered", || app.store.answered(Verb::Claim) == 3).await;
        let retry = app.post("/lease/second").key("k");
        retry.send().await.assert_problem(409, "in-flight");
        app.world.open("g");
        let first = running.response().await;
        first.assert_first(201);
        retry.send().await.assert_replay_of(&first);
        assert_eq!(app.world.effects(), 1);
    }

    async fn sec6_a_claim_that_comes_back_after_the_run_has_freed_its_key_is_given_back(
        framework: Framework,
    ) {
        let app = leased(framework).await;
        let mut plan = Plan::status(503);
        plan.gate = Some("g".to_owned());
        let mut running = forgotten(&app, &plan).await;
        app.store.hang(Verb::Claim, Fault::Before);
        app.store.asked(Verb::Claim, 2).await;
        app.world.open("g");
        running.response().await.assert_first(503);
        app.store.heal(Verb::Claim);
        soon("the key is free", app.idempotency.drain()).await;
        let retry = app.post("/lease/second").key("k").send().await;
        retry.assert_first(201);
    }

    async fn sec6_a_claim_that_comes_back_while_the_run_frees_its_key_is_given_back(
        framework: Framework,
    ) {
        let app = leased(framework).await;
        let mut plan = Plan::status(503);
        plan.gate = Some("g".to_owned());
        let mut running = forgotten(&app, &plan).await;
        app.store.hang(Verb::Claim, Fault::Before);
        app.store.asked(Verb::Claim, 2).await;
        // It is carried out, and finds nothing, before the claim is there again.
        app.store.hang(Verb::Release, Fault::After);
        app.world.open("g");
        app.store.asked(Verb::Release, 1).await;
        app.store.heal(Verb::Claim);
        eventually("it is claimed", || app.store.answered(Verb::Claim) == 2).await;
        app.store.heal(Verb::Release);
        running.response().await.assert_first(503);
        soon("the key is free", app.idempotency.drain()).await;
        let retry = app.post("/lease/second").key("k").send().await;
        retry.assert_first(201);
    }

    async fn sec6_keys_that_are_freed_late_are_bounded_and_not_waited_for(framework: Framework) {
        const TOO_MANY: usize = 5;
        let app = leased(framework).await;
        app.store.fail(Verb::Release, usize::MAX, Fault::Before);
        let key = |number: usize| format!("k-{number}");
        let request = |number| app.post("/lease/refuse").key(key(number));
        let refused = Plan::status(503);
        for number in 0..LATE_PLACES + TOO_MANY {
            request(number).plan(&refused).send().await.assert_first(503);
        }
        // The store is away for longer than the leases, and nothing has happened under those keys.
        soon("drain lets go of them", app.idempotency.drain()).await;
        eventually("all but so many are tried on", || {
            app.store.abandoned() == TOO_MANY
        })
        .await;
        app.store.heal(Verb::Release);
        soon("the others are freed", async {
            for number in 0..LATE_PLACES + TOO_MANY {
                while request(number).send().await.status != 201 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        })
        .await;
    }
}
