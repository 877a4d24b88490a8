//! Functions and handlers that share an operation's name, a scope and a key: neither is told what
//! the other was answered, and neither runs a second time.

use idempotent_runtime::{OnceError, Scope};
use idempotent_tests::both;

both! {
    async fn a_functions_record_is_no_response_and_a_response_no_value(framework: Framework) {
        let app = framework.start().await;
        let once = |key| app.idempotency.once("shared, whatever", Scope::global(), key);
        once("f.hushed").run(async { 1 }).await.unwrap();
        let handler = app.post("/alike/a").key("f").send().await;
        handler.assert_problem(422, "key-reused");
        app.post("/alike/a").key("h").send().await.assert_first(201);
        let error = once("h.hushed").run(async { 1 }).await.unwrap_err();
        assert!(matches!(error, OnceError::KeyReused), "{error:?}");
        assert_eq!(app.world.effects(), 1);
    }
}
