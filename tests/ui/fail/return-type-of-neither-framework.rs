use axum::{Json, Router, routing::post};
use idempotent_runtime::idempotent;

struct Receipt {
    id: u64,
}

#[idempotent(scope = "global")]
async fn pay(Json(amount): Json<u64>) -> Receipt {
    Receipt { id: amount }
}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay));
}
