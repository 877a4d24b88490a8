//! The kill switch.

use idempotent_runtime::Outcome;
use idempotent_tests::{Plan, both, logs};

both! {
    async fn handlers_run_unprotected_while_it_is_off(framework: Framework) {
        let app = framework.start().await;
        let first = app.post("/pay").key("k").send().await;
        first.assert_first(201);
        let mut running = app.post("/pay").key("running").plan(&Plan::gate("go")).open().await;
        app.world.entered(2).await;
        assert!(app.idempotency.is_enabled());
        app.idempotency.disable();
        app.idempotency.disable();
        assert!(!app.idempotency.is_enabled());
        for key in ["k", "new", "new"] {
            app.post("/pay").key(key).send().await.assert_first(201);
        }
        // Neither a key nor a caller is needed, and nothing is wrong with what is no key.
        app.post("/pay").send().await.assert_first(201);
        app.post("/pay").key("\"").send().await.assert_first(201);
        app.post("/scope/user").key("k").send().await.assert_first(201);
        let committed = app.post("/pay").key("c").plan(&Plan::commit(202, "committed"));
        committed.send().await;
        // Another request with the key of a run that holds its claim runs beside it.
        app.post("/pay").key("running").send().await.assert_first(201);
        let effects = app.world.effects();
        assert_eq!(effects, 9);
        assert_eq!(app.idempotency.unprotected(), 8);
        assert_eq!(app.events.count(Outcome::UnprotectedDisabled), 8);

        // A claim that was there goes on, and is recorded.
        app.world.open("go");
        let ran = running.response().await;
        ran.assert_first(201);
        app.idempotency.enable();
        app.post("/pay").key("running").send().await.assert_replay_of(&ran);
        app.post("/pay").key("k").send().await.assert_replay_of(&first);
        // What ran in between is not known.
        app.post("/pay").key("new").send().await.assert_first(201);
        assert_eq!(app.world.effects(), effects + 2);
        assert_eq!(app.idempotency.unprotected(), 8);
        let log = logs::all();
        let is_loud = |line: &str| line.contains("ERROR") && line.contains("UNPROTECTED");
        assert!(log.lines().any(is_loud));
        assert!(log.lines().any(|line| line.contains("WARN") && line.contains("unprotected-disabled")));
    }
}
