//! An expression sees the arguments by reference.

use axum::{Json, Router, routing::post};
use idempotent_runtime::idempotent;

#[idempotent(scope = String::from(user))]
async fn pay(Json(user): Json<Box<str>>) -> Json<Box<str>> {
    Json(user)
}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay));
}
