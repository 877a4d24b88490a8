use axum::{Json, Router, routing::post};
use idempotent_runtime::idempotent;

#[idempotent(scope = usr.id)]
async fn pay(Json(amount): Json<u64>) -> Json<u64> {
    Json(amount)
}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay));
}
