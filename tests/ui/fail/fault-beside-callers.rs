//! One mistake is one error: whatever calls or mounts the handler still finds it.

use axum::{Router, routing::post};
use idempotent_runtime::idempotent;

#[idempotent(scope = "global", ttl = "1 day and a half")]
async fn pay(payment: String) -> String {
    payment
}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay));
}
