//! Each protected request has a span, which stays around its run.

use idempotent_tests::{Plan, both, eventually, logs, soon};

both! {
    async fn a_detached_run_stays_in_its_span_and_in_that_of_its_request(framework: Framework) {
        let app = framework.start().await;
        let id = format!("with-span-{framework:?}");
        let request = app.post("/pay").key("k").header("x-request-id", &id);
        let connection = request.plan(&Plan::gate("g")).open().await;
        app.world.entered(1).await;
        connection.reset();
        eventually("it goes on", || app.idempotency.detached() == 1).await;
        app.world.open("g");
        soon("it ends", app.idempotency.drain()).await;
        let record = app.events.all()[0].record.clone().unwrap();
        let span = format!("request{{id=\"{id}\"}}:idempotent{{operation=POST /pay record={record}");
        let closed = format!("{span} outcome=\"executed\"}}");
        eventually("the span is closed", || {
            let log = logs::all();
            log.lines().any(|line| line.contains(&closed) && line.contains("close"))
        })
        .await;
        let log = logs::all();
        for event in ["the claim is granted", "the client went away", "a handler acts"] {
            let told = |line: &str| line.contains(event) && line.contains(&span);
            assert!(log.lines().any(told), "{event}, in the span: {log}");
        }
    }
}
