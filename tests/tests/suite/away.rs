//! A store whose server is away: the wire to it is cut.

use idempotent_runtime::Outcome;
use idempotent_tests::{Plan, served, soon};

served! {
    async fn a_store_that_is_away_before_the_claim_lets_nothing_happen(setting: Setting) {
        let (setup, wire) = setting.setup().behind_proxy().await;
        let app = setup.start().await;
        app.post("/pay").key("before").send().await.assert_first(201);
        wire.cut();
        let refused = app.post("/pay").key("k").send().await;
        refused.assert_problem(503, "store-unavailable");
        assert!(refused.header("retry-after").is_some());
        assert_eq!(app.world.effects(), 1);
        let unprotected = app.post("/down/run").key("k").send().await;
        unprotected.assert_first(201);
        assert_eq!(app.events.count(Outcome::UnprotectedStoreDown), 1);
        wire.mend();
        soon("the store is back", async {
            // In flight: a claim whose answer was cut off, until it is freed.
            while matches!(app.post("/pay").key("k").send().await.status, 409 | 503) {}
        })
        .await;
        app.post("/pay").key("k").send().await.assert_replay(201);
        app.post("/pay").key("before").send().await.assert_replay(201);
        assert_eq!(app.world.effects(), 3);
    }

    async fn a_store_that_is_away_after_the_effect_gets_the_outcome_later(setting: Setting) {
        let (setup, wire) = setting.setup().behind_proxy().await;
        let app = setup.start().await;
        let request = app.post("/pay").key("k").plan(&Plan::gate("go"));
        let first = tokio::spawn(async move { request.send().await });
        app.world.entered(1).await;
        wire.cut();
        app.world.open("go");
        let first = soon("the response", first).await.unwrap();
        first.assert_first(201);
        assert_eq!(app.events.count(Outcome::CompletionDelayed), 1);
        app.post("/pay").key("k").send().await.assert_problem(503, "store-unavailable");
        wire.mend();
        soon("the outcome is recorded", app.idempotency.drain()).await;
        app.post("/pay").key("k").send().await.assert_replay_of(&first);
        assert_eq!(app.world.effects(), 1);
    }
}
