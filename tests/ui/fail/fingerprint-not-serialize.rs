use axum::{Json, Router, routing::post};
use idempotent_runtime::idempotent;

#[derive(serde::Deserialize)]
struct Order {
    amount: u64,
}

#[idempotent(scope = "global", fingerprint = order)]
async fn pay(Json(order): Json<Order>) -> String {
    format!("paid {}", order.amount)
}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay));
}
