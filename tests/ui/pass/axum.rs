//! Handlers of axum, mounted as they would be without the attribute.

use std::cell::Cell;

use axum::{
    Json, Router,
    extract::{Extension, FromRef, FromRequestParts, Path, State},
    http::{HeaderMap, Method, StatusCode, Uri, request::Parts},
    response::{IntoResponse, Response},
    routing::{any, post},
};
use idempotent_runtime::{Execution, idempotent};

#[derive(Clone)]
struct Db {
    name: String,
}

#[derive(Clone)]
struct App {
    db: Db,
}

impl FromRef<App> for Db {
    fn from_ref(app: &App) -> Self {
        app.db.clone()
    }
}

/// An extractor of one state.
struct User {
    id: u64,
}

impl FromRequestParts<App> for User {
    type Rejection = StatusCode;

    async fn from_request_parts(_: &mut Parts, _: &App) -> Result<Self, StatusCode> {
        Ok(Self { id: 7 })
    }
}

/// An extractor of every state that has a database.
struct Tenant(String);

impl<S: Send + Sync> FromRequestParts<S> for Tenant
where
    Db: FromRef<S>,
{
    type Rejection = StatusCode;

    async fn from_request_parts(_: &mut Parts, state: &S) -> Result<Self, StatusCode> {
        Ok(Self(Db::from_ref(state).name))
    }
}

#[derive(serde::Deserialize, serde::Serialize)]
struct Order {
    amount: String,
    currency: String,
}

/// An extractor can lend what lives forever.
struct Settings {
    limit: u64,
}

static SETTINGS: Settings = Settings { limit: 9 };

impl<S: Sync> FromRequestParts<S> for &'static Settings {
    type Rejection = StatusCode;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        Ok(&SETTINGS)
    }
}

enum Refused {
    Number,
}

impl From<std::num::ParseIntError> for Refused {
    fn from(_: std::num::ParseIntError) -> Self {
        Self::Number
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        StatusCode::UNPROCESSABLE_ENTITY.into_response()
    }
}

#[idempotent(scope = "global")]
async fn no_arguments() -> StatusCode {
    StatusCode::NO_CONTENT
}

#[idempotent(scope = "global")]
async fn no_result() {}

#[idempotent(scope = user.id)]
async fn patterns(
    State(mut db): State<Db>,
    mut user: User,
    Json(Order {
        amount: mut first,
        ref currency,
    }): Json<Order>,
) -> String {
    db.name.push('!');
    user.id += 1;
    first.push_str(currency);
    format!("{} {} {first}", db.name, user.id)
}

#[idempotent(scope = tenant)]
async fn fails_early(
    Tenant(tenant): Tenant,
    Json(order): Json<Order>,
) -> Result<(StatusCode, Json<u64>), Refused> {
    let amount: u64 = order.amount.parse()?;
    Ok((StatusCode::CREATED, Json(amount + tenant.len() as u64)))
}

#[idempotent(scope = "user")]
async fn some_response(Path(id): Path<u64>) -> impl IntoResponse {
    (StatusCode::CREATED, [("x-id", id.to_string())])
}

#[idempotent(scope = "user")]
async fn some_result(Path(id): Path<u64>) -> Result<impl IntoResponse, impl IntoResponse> {
    if id == 0 {
        return Err(StatusCode::NOT_FOUND);
    }
    Ok(Json(id))
}

#[idempotent(scope = "user")]
async fn never(Path(id): Path<u64>) -> Response {
    if id == 0 {
        return ().into_response();
    }
    panic!("never")
}

#[idempotent(scope = settings.limit)]
async fn lent(settings: &'static Settings) -> Json<u64> {
    Json(settings.limit)
}

#[idempotent(scope = "user")]
async fn not_sync(Json(amount): Json<u64>) -> Json<u64> {
    let total = Cell::new(amount);
    tokio::task::yield_now().await;
    total.set(total.get() + 1);
    Json(total.get())
}

#[idempotent(scope = "user")]
async fn knows_its_run(execution: Execution, body: String) -> StatusCode {
    if execution.is_protected() && !body.is_empty() {
        execution.release();
    }
    StatusCode::ACCEPTED
}

trait Repository: Clone + Send + Sync + 'static {
    fn add(&self, order: Order) -> u64;
}

#[derive(Clone)]
struct Memory;

impl Repository for Memory {
    fn add(&self, order: Order) -> u64 {
        order.amount.len() as u64
    }
}

#[idempotent(scope = "user", fingerprint = order)]
async fn generic<R, O, const LIMIT: usize>(
    State(repository): State<R>,
    Json(order): Json<O>,
) -> Result<Json<u64>, StatusCode>
where
    R: Repository,
    O: Into<Order> + serde::Serialize + Send + 'static,
{
    let order = order.into();
    if order.amount.len() > LIMIT {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    Ok(Json(repository.add(order)))
}

#[idempotent(scope = "global")]
async fn sixteen_arguments(
    _: Method,
    _: Uri,
    _: HeaderMap,
    State(_): State<App>,
    Extension(_): Extension<u8>,
    Path(()): Path<()>,
    Path(()): Path<()>,
    _: User,
    _: Tenant,
    _: Execution,
    _: HeaderMap,
    _: Method,
    _: Uri,
    _: HeaderMap,
    mut last_but_one: HeaderMap,
    Json(mut order): Json<Order>,
) -> Json<Order> {
    last_but_one.clear();
    order.amount = last_but_one.len().to_string();
    Json(order)
}

fn main() {
    let _: Router = Router::new()
        .route("/1", post(no_arguments))
        .route("/2", any(no_result))
        .route("/3", post(patterns))
        .route("/4", post(fails_early))
        .route("/5/{id}", post(some_response).put(some_result))
        .route("/6/{id}", post(never))
        .route("/7", post(not_sync))
        .route("/8", post(knows_its_run))
        .route("/9", post(sixteen_arguments))
        .route("/10", post(lent))
        .fallback(no_arguments)
        .with_state(App {
            db: Db {
                name: String::new(),
            },
        });
    let _: Router = Router::new()
        .route("/", post(generic::<Memory, Order, 9>))
        .with_state(Memory);
}
