use axum::{Json, Router, http::StatusCode, routing::post};
use idempotent_runtime::idempotent;

struct User {
    id: u64,
}

#[idempotent(scope = user.id)]
async fn pay(user: User, Json(amount): Json<u64>) -> (StatusCode, Json<u64>) {
    (StatusCode::CREATED, Json(user.id + amount))
}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay));
}
