//! What both frameworks can answer with is taken for actix-web's when the future is not `Send`.
//! `debug_handler` says why axum refuses it.

use std::rc::Rc;

use axum::{Router, debug_handler, routing::post};
use idempotent_runtime::idempotent;

async fn charge(_payment: &str) {}

#[idempotent(scope = "global")]
#[debug_handler]
async fn pay(payment: String) -> String {
    let receipt = Rc::new(payment.clone());
    charge(&payment).await;
    receipt.to_string()
}

fn main() {
    let _: Router = Router::new().route("/payments", post(pay));
}
