use std::rc::Rc;

use axum::{Json, Router, extract::State, routing::post};
use idempotent_runtime::idempotent;

#[idempotent(scope = "global")]
async fn pay(State(ledger): State<Rc<u64>>, Json(amount): Json<u64>) -> Json<u64> {
    Json(*ledger + amount)
}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay));
}
