//! Uses of the attribute under strict lints: what it generates gives no cause for a warning.
//!
//! `cargo clippy --tests` is what asks.

#![deny(
    clippy::pedantic,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    unused_variables,
    warnings
)]

/// Handlers of axum.
pub mod of_axum {
    use axum::{
        Json, Router,
        extract::{Path, State},
        http::StatusCode,
        response::IntoResponse,
        routing::post,
    };
    use idempotent_runtime::{Execution, idempotent};

    /// Does nothing, and awaits nothing.
    #[idempotent(scope = "global")]
    pub async fn nothing() {}

    /// Matches its arguments by patterns.
    #[idempotent(scope = user, key = first, fingerprint = (first, &second))]
    pub async fn patterns(
        State(limit): State<u64>,
        Path((user, _)): Path<(String, u64)>,
        Json((mut first, second)): Json<(u64, u64)>,
    ) -> Result<(StatusCode, Json<u64>), StatusCode> {
        first += second;
        if first > limit || user.is_empty() {
            return Err(StatusCode::UNPROCESSABLE_ENTITY);
        }
        Ok((StatusCode::CREATED, Json(first)))
    }

    /// Uses one of its arguments in an expression only.
    #[idempotent(scope = "user", fingerprint = amount)]
    pub async fn every_argument(
        execution: Execution,
        Json(amount): Json<u64>,
    ) -> impl IntoResponse + use<> {
        execution.is_protected().then(|| amount.to_string());
        StatusCode::ACCEPTED
    }

    /// Needs its arguments for the attribute only.
    #[idempotent(scope = user.to_string(), key = format!("{id}"), fingerprint = second)]
    pub async fn unused(
        Path((user, id)): Path<(u64, u64)>,
        Json((_, second)): Json<(u64, u64)>,
    ) -> StatusCode {
        StatusCode::ACCEPTED
    }

    /// Is generic.
    #[idempotent(
        scope = "user",
        ttl = "1h",
        key = "derived",
        wait = "5s",
        lease = "1m",
        on_lost = "refuse",
        release_on(5xx),
        store_down = "run",
        max_response = "64KiB",
        operation = "generic",
        crate = ::idempotent_runtime
    )]
    pub async fn generic<T, const LIMIT: usize>(Json(all): Json<Vec<T>>) -> Json<usize>
    where
        T: Send + 'static,
    {
        Json(all.len().min(LIMIT))
    }

    /// Has a large future.
    #[idempotent(scope = "global")]
    pub async fn large(Json(amount): Json<u8>) -> Json<u8> {
        let padding = [amount; 15 * 1024];
        tokio::task::yield_now().await;
        Json(padding[usize::from(amount)])
    }

    /// Takes the place of another.
    #[idempotent(scope = "global")]
    #[deprecated = "use `nothing`"]
    pub async fn deprecated() -> &'static str {
        "paid"
    }

    /// Is documented.
    #[idempotent(scope = "global")]
    #[utoipa::path(post, path = "/9", responses((status = 200, body = u64)))]
    pub async fn documented(Json(amount): Json<u64>) -> Json<u64> {
        Json(amount)
    }

    /// Handlers in an `impl` block.
    pub struct Api;

    impl Api {
        const LIMIT: u64 = 9;

        /// Names `Self`.
        #[idempotent(scope = Self::LIMIT)]
        #[tracing::instrument(skip_all)]
        pub async fn limited(Json(amount): Json<u64>) -> Json<u64> {
            Json(amount.min(Self::LIMIT))
        }

        /// Does not name it.
        #[idempotent(scope = "global")]
        pub async fn unlimited(Json(amount): Json<u64>) -> Json<u64> {
            Json(amount)
        }
    }

    pub(crate) fn router() -> Router {
        #[allow(deprecated)]
        Router::new()
            .route("/1", post(nothing))
            .route("/2/{user}/{id}", post(patterns))
            .route("/3", post(every_argument))
            .route("/4", post(generic::<u64, 9>))
            .route("/5", post(large))
            .route("/6", post(deprecated))
            .route("/7", post(Api::limited))
            .route("/8", post(Api::unlimited))
            .route("/9", post(documented))
            .route("/10/{user}/{id}", post(unused))
            .with_state(9)
    }
}

/// Handlers of actix-web.
pub mod of_actix {
    use std::rc::Rc;

    use actix_web::{HttpResponse, Responder, post, put, web};
    use idempotent_runtime::{Execution, idempotent};

    /// Does nothing, and awaits nothing.
    #[idempotent(scope = "global")]
    pub async fn nothing() -> HttpResponse {
        HttpResponse::NoContent().finish()
    }

    /// Has its route below.
    #[idempotent(scope = user, key = first, fingerprint = (first, second))]
    #[post("/below/{user}")]
    pub async fn below(
        user: web::Path<String>,
        web::Json((mut first, second)): web::Json<(u64, u64)>,
    ) -> actix_web::Result<web::Json<u64>> {
        first += second;
        if user.is_empty() {
            return Err(actix_web::error::ErrorUnprocessableEntity("nobody"));
        }
        Ok(web::Json(first))
    }

    /// Has its route above.
    #[put("/above")]
    #[idempotent(scope = "user")]
    pub async fn above(execution: Execution, amount: web::Json<u64>) -> impl Responder {
        execution.is_protected().then(|| amount.to_string())
    }

    /// Needs its arguments for the attribute only.
    #[post("/unused")]
    #[idempotent(scope = user)]
    pub async fn unused(user: web::Json<u64>) -> HttpResponse {
        HttpResponse::NoContent().finish()
    }

    /// Stays in its thread.
    #[idempotent(scope = "global")]
    pub async fn not_send(body: String) -> String {
        let body = Rc::new(body);
        actix_web::rt::task::yield_now().await;
        body.to_uppercase()
    }

    /// Is documented.
    #[idempotent(scope = "global")]
    #[utoipa::path(responses((status = 200, body = u64)))]
    #[post("/documented")]
    pub async fn documented(amount: web::Json<u64>) -> web::Json<u64> {
        amount
    }

    /// Handlers in an `impl` block.
    pub struct Api;

    impl Api {
        const LIMIT: u64 = 9;

        /// Names `Self`.
        #[idempotent(scope = Self::LIMIT)]
        pub async fn limited(amount: web::Json<u64>) -> web::Json<u64> {
            web::Json(amount.min(Self::LIMIT))
        }
    }

    pub(crate) fn routes(config: &mut web::ServiceConfig) {
        config
            .service(below)
            .service(above)
            .service(documented)
            .service(unused)
            .route("/1", web::post().to(nothing))
            .route("/2", web::post().to(not_send))
            .route("/3", web::post().to(Api::limited));
    }
}

/// Functions that are no handlers.
pub mod of_functions {
    use idempotent_runtime::{Idempotency, OnceError, OnceExecution, idempotent};

    /// Does nothing, and uses its arguments in expressions only.
    ///
    /// # Errors
    ///
    /// When it is refused.
    #[idempotent(runtime = idempotency, key = id, scope = "global")]
    pub async fn nothing(idempotency: Idempotency, id: u64) -> Result<(), OnceError> {
        Ok(())
    }

    /// Matches its arguments by patterns, and is given its run.
    ///
    /// # Errors
    ///
    /// When it is refused.
    #[idempotent(
        runtime = idempotency,
        key = first,
        scope = user,
        fingerprint = (first, second),
        wait = "5s",
        operation = "patterns"
    )]
    pub async fn patterns(
        idempotency: Idempotency,
        (mut first, second): (u64, u64),
        execution: OnceExecution<u64>,
        user: String,
    ) -> Result<u64, OnceError> {
        first += second;
        if execution.is_protected() && first == 0 {
            execution.release();
        }
        Ok(first)
    }

    /// Records its errors.
    ///
    /// # Errors
    ///
    /// When it is refused.
    #[idempotent(runtime = idempotency, key = id, scope = "global", errors = "record")]
    pub async fn recorded(idempotency: Idempotency, id: u64) -> Result<u64, Refused> {
        id.checked_mul(2).ok_or(Refused(String::new()))
    }

    /// Why a function was refused.
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    pub struct Refused(String);

    impl From<OnceError> for Refused {
        fn from(error: OnceError) -> Self {
            Self(error.to_string())
        }
    }
}

#[test]
fn handlers_can_be_mounted() {
    let _ = of_axum::router();
    let _ = actix_web::App::new().configure(of_actix::routes);
}
