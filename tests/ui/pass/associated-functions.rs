//! Handlers in `impl` blocks.

use std::marker::PhantomData;

use actix_web::web;
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use idempotent_runtime::idempotent;

#[derive(serde::Deserialize, serde::Serialize)]
struct Api {
    amount: u64,
}

impl Api {
    const LIMIT: u64 = 9;

    #[idempotent(scope = "global")]
    async fn create(Json(amount): Json<u64>) -> Json<u64> {
        Json(amount)
    }

    #[idempotent(scope = Self::tenant(new), fingerprint = (Self::LIMIT, new))]
    pub(crate) async fn create_self(Json(new): Json<Self>) -> Result<Json<Self>, StatusCode> {
        if new.amount > Self::LIMIT {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        Ok(Json(Self { ..new }))
    }

    #[idempotent(scope = "global")]
    async fn into_self(Json(amount): Json<u64>) -> Self {
        Api { amount }
    }

    #[idempotent(scope = "global")]
    async fn with_items(Json(amount): Json<u64>) -> Json<u64> {
        struct Doubled(u64);
        impl From<u64> for Doubled {
            fn from(amount: u64) -> Self {
                Self(amount * 2)
            }
        }
        Json(Doubled::from(amount).0)
    }

    #[idempotent(scope = "global")]
    async fn actix(new: web::Json<Self>) -> web::Json<Self> {
        web::Json(Self {
            amount: new.amount.min(Self::LIMIT),
        })
    }

    fn tenant(new: &Self) -> u64 {
        new.amount
    }
}

impl IntoResponse for Api {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

trait Repository: Clone + Send + Sync + 'static {
    fn add(&self, amount: u64) -> u64;
}

#[derive(Clone)]
struct Memory;

impl Repository for Memory {
    fn add(&self, amount: u64) -> u64 {
        amount
    }
}

struct Payments<R>(PhantomData<R>);

impl<R: Repository> Payments<R> {
    #[idempotent(scope = "global")]
    async fn create(State(repository): State<R>, Json(amount): Json<u64>) -> Json<u64>
    where
        Self: Sized,
    {
        Json(repository.add(amount))
    }

    #[idempotent(scope = "global")]
    async fn convert<N, const LIMIT: u64>(
        State(repository): State<R>,
        Json(amount): Json<N>,
    ) -> Json<u64>
    where
        N: Into<u64> + Send + 'static,
    {
        Json(Self::within(repository.add(amount.into()), LIMIT))
    }

    #[idempotent(scope = "global")]
    async fn actix(repository: web::Data<R>, amount: web::Json<u64>) -> web::Json<u64>
    where
        Self: 'static,
    {
        web::Json(repository.add(*amount))
    }

    fn within(amount: u64, limit: u64) -> u64 {
        amount.min(limit)
    }
}

fn main() {
    let _: Router = Router::new()
        .route("/1", post(Api::create))
        .route("/2", post(Api::create_self))
        .route("/3", post(Api::into_self))
        .route("/4", post(Api::with_items));
    let _: Router = Router::new()
        .route("/1", post(Payments::<Memory>::create))
        .route("/2", post(Payments::<Memory>::convert::<u32, 9>))
        .with_state(Memory);
    let _ = actix_web::App::new()
        .route("/1", web::post().to(Api::actix))
        .route("/2", web::post().to(Payments::<Memory>::actix));
}
