//! Handlers of actix-web, whose route says method and path, in `#[derive(OpenApi)]` and in
//! utoipa-actix-web's application.

use actix_web::{
    App, HttpServer, post,
    web::{Json, Path},
};
use idempotent_runtime::idempotent;
use idempotent_tests::client::Request;
use utoipa::OpenApi;
use utoipa_actix_web::AppExt as _;

use crate::{Payment, assert_complete, assert_operation, idempotency, json, operation};

/// Makes a payment.
#[idempotent(scope = user.as_str(), wait = "1m")]
#[utoipa::path(responses((status = 200, description = "It was made.", body = Payment)))]
#[post("/users/{user}/payments")]
async fn create(user: Path<String>, payment: Json<Payment>) -> Json<Payment> {
    let _ = user;
    payment
}

/// The route stands above utoipa's attribute, which is moved above both.
#[idempotent(key = "optional", scope = "global")]
#[post("/order")]
#[utoipa::path(responses((status = 200)))]
async fn other_order(body: String) -> String {
    body
}

#[derive(OpenApi)]
#[openapi(paths(create, other_order))]
struct Document;

#[test]
fn an_operation_says_what_its_attribute_says() {
    let document = json(&Document::openapi());
    assert_operation("actix-create", &document, "/users/{user}/payments");
    assert_operation("actix-other-order", &document, "/order");
    assert_complete(&document);
}

#[actix_web::test]
async fn the_application_of_utoipa_has_the_same_operations_and_protects_them() {
    let (_, document) = App::new()
        .into_utoipa_app()
        .service(create)
        .service(other_order)
        .split_for_parts();
    let (document, derived) = (json(&document), json(&Document::openapi()));
    for path in ["/users/{user}/payments", "/order"] {
        assert_eq!(operation(&document, path), operation(&derived, path));
    }
    assert_complete(&document);

    let idempotency = idempotency();
    let server = HttpServer::new(move || {
        let app = App::new().into_utoipa_app();
        let app = app.app_data(idempotency.clone());
        app.service(create).service(other_order).into_app()
    });
    let server = server.workers(1).bind(("127.0.0.1", 0)).unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let request = Request::new(address, "POST", "/users/alice/payments")
        .json(&serde_json::json!({ "amount": 7 }));
    request.send().await.assert_problem(400, "key-missing");
    let request = request.key("k");
    let first = request.send().await;
    first.assert_first(200);
    request.send().await.assert_replay_of(&first);
    handle.stop(false).await;
}
