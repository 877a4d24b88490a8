//! `debug_handler` must stand below: above, it calls what takes the handler's place.

use axum::{Json, Router, debug_handler, http::HeaderMap, routing::post};
use idempotent_runtime::idempotent;

#[debug_handler]
#[idempotent(scope = "global")]
async fn pay(headers: HeaderMap, Json(amount): Json<u64>) -> Json<u64> {
    Json(amount + headers.len() as u64)
}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay));
}
