//! utoipa's attribute above ours: it has read its arguments before ours is there.

use axum::Json;
use idempotent_runtime::idempotent;
use utoipa::OpenApi;

use crate::{Payment, json};

/// Makes a payment.
#[utoipa::path(post, path = "/above", responses((status = 200, description = "It was made.")))]
#[idempotent(scope = "global")]
async fn above(payment: Json<Payment>) -> Json<Payment> {
    payment
}

#[derive(OpenApi)]
#[openapi(paths(above))]
struct Document;

#[test]
fn the_operation_is_documented_as_if_it_were_not_protected() {
    let document = json(&Document::openapi());
    let operation = &document["paths"]["/above"]["post"];
    assert_eq!(
        operation["responses"],
        serde_json::json!({ "200": { "description": "It was made." } })
    );
    assert!(operation["requestBody"].is_object());
    assert!(operation.get("parameters").is_none());
}

#[test]
fn the_handler_compiles_as_one_of_axum() {
    let _: axum::Router = axum::Router::new().route("/above", axum::routing::post(above));
}
