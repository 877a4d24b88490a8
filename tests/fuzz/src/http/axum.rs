//! In axum.

use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, Path, Query, State},
    response::{IntoResponse, Response},
    routing::any,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::BodyExt as _;
use idempotent_runtime::idempotent;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

use super::{Answer, BODY_LIMIT, Sent, World, rules};

/// Any request is answered, and none has a second effect.
pub(crate) fn axum(data: &[u8]) {
    thread_local! {
        static SERVER: Server = Server::new();
    }
    SERVER.with(|server| rules::check(data, &server.world, |sent| server.answers(sent)));
}

struct Server {
    world: World,
    router: Router,
    runtime: Runtime,
}

impl Server {
    fn new() -> Self {
        let world = World::new();
        let router = Router::new()
            .route("/required", any(required))
            .route("/user", any(user))
            .route("/optional", any(optional))
            .route("/derived", any(derived))
            .route("/expression/{order}", any(expression))
            .layer(DefaultBodyLimit::max(BODY_LIMIT))
            .layer(world.idempotency.clone())
            .with_state(world.clone());
        let runtime = Builder::new_current_thread().build();
        Self {
            world,
            router,
            runtime: runtime.expect("a runtime without drivers"),
        }
    }

    /// What is answered to requests that come at the same time.
    fn answers(&self, sent: &[Sent<'_>]) -> Option<Vec<Answer>> {
        let requests: Option<Vec<_>> = sent.iter().map(request).collect();
        let answers = requests?.into_iter().map(|request| async {
            let Ok(response) = self.router.clone().oneshot(request).await;
            answer(response).await
        });
        Some(
            self.runtime
                .block_on(futures_util::future::join_all(answers)),
        )
    }
}

fn request(sent: &Sent<'_>) -> Option<Request<Body>> {
    let mut request = Request::new(Body::from(sent.body.clone()));
    *request.method_mut() = Method::from_bytes(sent.method).ok()?;
    *request.uri_mut() = Uri::try_from(sent.target).ok()?;
    for (name, value) in &sent.headers {
        let name = HeaderName::from_bytes(name).ok()?;
        let value = HeaderValue::from_bytes(value).ok()?;
        request.headers_mut().append(name, value);
    }
    Some(request)
}

async fn answer(response: Response) -> Answer {
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a body in memory");
    let content_type = head.headers.get("content-type");
    Answer {
        status: head.status.as_u16(),
        is_replay: head.headers.contains_key("idempotency-replayed"),
        is_problem: content_type.is_some_and(|value| value == "application/problem+json"),
        body: body.to_bytes().to_vec(),
    }
}

async fn effect(world: &World, sent: &[u8]) -> Response {
    let (status, body) = world.effect(sent).await;
    let status = StatusCode::from_u16(status).unwrap_or_default();
    (status, body).into_response()
}

#[idempotent(scope = "global", ttl = "1m", max_response = "64B")]
async fn required(State(world): State<World>, sent: Bytes) -> Response {
    effect(&world, &sent).await
}

#[idempotent(scope = "user", ttl = "1m", max_response = "64B")]
async fn user(State(world): State<World>, Json(sent): Json<Value>) -> Response {
    effect(&world, sent.to_string().as_bytes()).await
}

#[idempotent(scope = "global", key = "optional", ttl = "1m", max_response = "64B")]
async fn optional(State(world): State<World>, Query(sent): Query<Value>) -> Response {
    effect(&world, sent.to_string().as_bytes()).await
}

#[idempotent(scope = "global", key = "derived", ttl = "1m", max_response = "64B")]
async fn derived(State(world): State<World>, sent: String) -> Response {
    effect(&world, sent.as_bytes()).await
}

#[idempotent(
    scope = order,
    key = order,
    fingerprint = sent,
    ttl = "1m",
    max_response = "64B"
)]
async fn expression(
    State(world): State<World>,
    Path(order): Path<String>,
    Json(sent): Json<Value>,
) -> Response {
    effect(
        &world,
        [order.as_bytes(), sent.to_string().as_bytes()]
            .concat()
            .as_slice(),
    )
    .await
}
