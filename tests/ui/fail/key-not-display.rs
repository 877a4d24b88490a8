use axum::{Json, Router, routing::post};
use idempotent_runtime::idempotent;

#[idempotent(scope = "global", key = (order.0, order.1))]
async fn pay(Json(order): Json<(u64, u64)>) -> String {
    format!("paid {}", order.0)
}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay));
}
