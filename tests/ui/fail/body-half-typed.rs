//! A body is not read by the attribute, so an editor can complete inside one that is half typed.

use axum::{Json, Router, routing::post};
use idempotent_runtime::idempotent;

#[idempotent(scope = "global")]
async fn pay(Json(amount): Json<u64>) -> Json<u64> {
    let amount = amount.
}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay));
}
