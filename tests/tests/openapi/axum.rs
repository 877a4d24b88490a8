//! Handlers of axum, in `#[derive(OpenApi)]` and in utoipa-axum's router.

use axum::{Json, extract::Path, http::StatusCode};
use idempotent_runtime::{idempotent, openapi::ExpiresHeader};
use idempotent_tests::client::Request;
use tokio::net::TcpListener;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{Payment, assert_complete, assert_operation, idempotency, json, operation};

/// Makes a payment.
///
/// The amount is in cents:
///
/// * 100 are a dollar.
#[idempotent(scope = "user")]
#[utoipa::path(
    post,
    path = "/required",
    responses((status = 201, description = "It was made.", body = Payment))
)]
async fn required(Json(payment): Json<Payment>) -> (StatusCode, Json<Payment>) {
    (StatusCode::CREATED, Json(payment))
}

/// Makes a payment.
#[idempotent(
    key = "optional",
    scope = "global",
    ttl = "7d",
    wait = "5s",
    release_on()
)]
#[::utoipa::path(
    post,
    path = "/optional",
    params(("X-Trace" = String, Header)),
    request_body(content = inline(Payment)),
    description = concat!("Of the user's", " own words."),
    responses(
        (status = 201, description = "It was made.", headers(("Location" = String))),
        (status = "2XX", description = "Something else was done."),
        (status = 422, description = "The amount is none.", body = Payment),
        (status = 404, description = "There is no account."),
    ),
)]
async fn optional(Json(payment): Json<Payment>) -> (StatusCode, Json<Payment>) {
    (StatusCode::CREATED, Json(payment))
}

#[idempotent(key = "derived", scope = user, ttl = "90m", on_lost = "refuse")]
#[allow(unused_variables)]
#[utoipa::path(post, path = "/derived/{user}", params(("user" = String, Path)))]
async fn derived(Path(user): Path<String>) -> StatusCode {
    let _ = user;
    StatusCode::NO_CONTENT
}

/// Takes an event.
#[idempotent(
    key = payment.amount, scope = "global", ttl = "1s", fingerprint = "none", store_down = "run",
    release_on(429, 5xx)
)]
#[cfg_attr(all(), utoipa::path(post, path = "/expression", responses((status = OK))), inline)]
async fn expression(Json(payment): Json<Payment>) -> StatusCode {
    StatusCode::from_u16(200 + u16::from(payment.amount > 9)).unwrap()
}

#[derive(OpenApi)]
#[openapi(paths(required, optional, derived, expression))]
struct Document;

#[test]
fn an_operation_says_what_its_attribute_says() {
    let document = json(&Document::openapi());
    assert_operation("axum-required", &document, "/required");
    assert_operation("axum-optional", &document, "/optional");
    assert_operation("axum-derived", &document, "/derived/{user}");
    assert_operation("axum-expression", &document, "/expression");
    assert_complete(&document);
}

#[test]
fn the_modifier_says_where_a_response_has_a_date() {
    #[derive(OpenApi)]
    #[openapi(paths(required, unprotected), modifiers(&ExpiresHeader))]
    struct Dated;

    /// Takes a payment without protection.
    #[utoipa::path(post, path = "/unprotected", responses((status = 201, description = "Taken.")))]
    #[allow(dead_code)] // Only what is said of it counts.
    fn unprotected() {}

    let document = json(&Dated::openapi());
    let header = |path: &str, status: &str| {
        let response = operation(&document, path)["responses"][status].clone();
        response["headers"]["Idempotency-Expires"]["schema"]["type"].clone()
    };
    assert_eq!(header("/required", "201"), "string");
    for (path, status) in [("/required", "409"), ("/unprotected", "201")] {
        assert!(header(path, status).is_null(), "{path} {status}");
    }
    let undated = operation(&json(&Document::openapi()), "/required").to_string();
    assert!(!undated.contains("Idempotency-Expires"));
}

#[tokio::test]
async fn the_router_of_utoipa_has_the_same_operations_and_protects_them() {
    let (router, document) = OpenApiRouter::new()
        .routes(routes!(required))
        .routes(routes!(optional))
        .routes(routes!(derived))
        .routes(routes!(expression))
        .split_for_parts();
    let (document, derived) = (json(&document), json(&Document::openapi()));
    for path in ["/required", "/optional", "/derived/{user}", "/expression"] {
        assert_eq!(operation(&document, path), operation(&derived, path));
    }
    assert_complete(&document);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router: axum::Router = router.layer(idempotency());
    let server = tokio::spawn(axum::serve(listener, router).into_future());
    let request = Request::new(address, "POST", "/required")
        .header("x-user", "alice")
        .json(&serde_json::json!({ "amount": 7 }));
    request.send().await.assert_problem(400, "key-missing");
    let request = request.key("k");
    let first = request.send().await;
    first.assert_first(201);
    request.send().await.assert_replay_of(&first);
    server.abort();
}
