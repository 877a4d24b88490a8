use axum::{Json, Router, extract::Extension, routing::post};
use idempotent_runtime::idempotent;

#[derive(Clone)]
struct User {
    name: Option<String>,
}

#[idempotent(scope = user.name)]
async fn pay(Extension(user): Extension<User>, Json(amount): Json<u64>) -> String {
    format!("{:?} paid {amount}", user.name)
}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay));
}
