//! What the compiler has to say about the body, and about unused arguments, it says once.

#![deny(unused_variables)]

use axum::{Json, Router, http::Method, routing::post};
use idempotent_runtime::idempotent;

#[idempotent(scope = user)]
async fn pay(method: Method, Json(user): Json<u64>) -> Json<u64> {
    let fee = 1;
    Json(user)
}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay));
}
