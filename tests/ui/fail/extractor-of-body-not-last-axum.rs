use axum::{Json, Router, http::HeaderMap, routing::post};
use idempotent_runtime::idempotent;

#[idempotent(scope = "global")]
async fn pay(Json(amount): Json<u64>, _headers: HeaderMap) -> Json<u64> {
    Json(amount)
}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay));
}
