//! A run that goes on without its client stays in the spans that it began in.
//!
//! In this process the runtime's own spans are off, as in production: what remains is the span of
//! the request. With them on, the suite looks at the same (`spans.rs` there).

use idempotent_tests::{Plan, both, eventually, logs, soon};

use crate::turn;

both! {
    async fn a_detached_run_stays_in_the_span_of_its_request(framework: Framework) {
        let _turn = turn().await;
        let app = framework.start().await;
        let id = format!("detached-{framework:?}");
        let request = app.post("/pay").key("k").header("x-request-id", &id);
        let connection = request.plan(&Plan::gate("g")).open().await;
        app.world.entered(1).await;
        connection.reset();
        eventually("it goes on", || app.idempotency.detached() == 1).await;
        app.world.open("g");
        soon("it ends", app.idempotency.drain()).await;
        let log = logs::all();
        let acts = |line: &&str| line.contains("a handler acts") && line.contains(&id);
        let line = log.lines().find(acts);
        let line = line.unwrap_or_else(|| panic!("the run has left the span of its request: {log}"));
        assert!(line.contains("request{id="), "{line}");
        assert!(!log.contains("idempotent{"), "the runtime's own spans are off: {log}");
    }
}
