use std::rc::Rc;

use axum::{Json, Router, routing::post};
use idempotent_runtime::idempotent;

async fn charge(_amount: u64) {}

#[idempotent(scope = "global")]
async fn pay(Json(amount): Json<u64>) -> Json<u64> {
    let ledger = Rc::new(amount);
    charge(amount).await;
    Json(*ledger)
}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay));
}
