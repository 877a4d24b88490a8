//! Handlers whose operations utoipa documents.

#![deny(
    deprecated,
    non_camel_case_types,
    non_local_definitions,
    unreachable_code,
    unused_imports,
    unused_variables
)]

use utoipa::{IntoResponses, OpenApi, ToSchema};

#[derive(serde::Deserialize, serde::Serialize, ToSchema)]
pub struct Payment<A> {
    amount: A,
}

#[derive(IntoResponses)]
#[response(status = 404)]
pub struct NoAccount;

mod of_axum {
    use super::{NoAccount, Payment};
    use axum::{Json, debug_handler};
    use idempotent_runtime::idempotent;

    /// Makes a payment.
    #[idempotent(scope = "global")]
    #[utoipa::path(
        post,
        path = "/axum",
        responses(NoAccount, (status = OK, body = Payment<u64>)),
        tags = ["one", "two"],
    )]
    #[debug_handler]
    #[tracing::instrument(skip_all)]
    pub(crate) async fn create(Json(payment): Json<Payment<u64>>) -> Json<Payment<u64>> {
        Json(payment)
    }

    #[idempotent(crate = ::idempotent_runtime, scope = "global")]
    #[cfg_attr(any(), utoipa::path(post, path = "/nowhere"))]
    #[deprecated]
    async fn undocumented() {}

    #[cfg(any())]
    #[idempotent(scope = "global")]
    #[utoipa::path(post, path = "/absent")]
    async fn create(missing: Missing) {}

    #[idempotent(scope = "global")]
    #[utoipa::path(post, path = "/absent")]
    #[cfg(any())]
    async fn create(missing: Missing) {}

    #[allow(deprecated)]
    pub(super) fn routes() -> axum::Router {
        use axum::routing::post;
        axum::Router::new()
            .route("/axum", post(create))
            .route("/undocumented", post(undocumented))
    }
}

mod of_actix {
    use super::{NoAccount, Payment};
    use actix_web::{post, web::Json};
    use idempotent_runtime::idempotent;

    /// Makes a payment.
    #[idempotent(key = payment.amount, scope = "global", crate = ::idempotent_runtime)]
    #[utoipa::path(responses((status = 200, body = Payment<u64>), NoAccount,))]
    #[post("/actix")]
    pub(crate) async fn create(payment: Json<Payment<u64>>) -> Json<Payment<u64>> {
        payment
    }
}

#[derive(OpenApi)]
#[openapi(paths(of_axum::create, of_actix::create))]
struct Document;

fn main() {
    let _ = Document::openapi();
    let _ = of_axum::routes();
    let _ = actix_web::App::new().service(of_actix::create);
}
