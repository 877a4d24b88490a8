//! An expression sees the arguments by reference.

use axum::{Json, Router, routing::post};
use idempotent_runtime::idempotent;

fn owner(of: Vec<String>) -> String {
    of.concat()
}

#[idempotent(scope = owner(names))]
async fn pay(Json(names): Json<Vec<String>>) -> Json<Vec<String>> {
    Json(names)
}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay));
}
