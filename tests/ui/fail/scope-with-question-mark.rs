//! An expression has nowhere to return to.

use axum::{Json, Router, routing::post};
use idempotent_runtime::idempotent;

#[idempotent(scope = user.parse::<u64>()?)]
async fn pay(Json(user): Json<String>) -> String {
    user
}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay));
}
