//! A mistake in the body is the compiler's to report, once, where it is.

use axum::{Json, Router, routing::post};
use idempotent_runtime::idempotent;

#[idempotent(scope = "global")]
async fn pay(Json(amount): Json<u64>) -> Json<u64> {
    Json(amount.to_string())
}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay));
}
