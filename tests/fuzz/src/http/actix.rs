//! In actix-web.

use std::pin::Pin;

use actix_web::{
    App, HttpResponse,
    body::{MessageBody, to_bytes},
    dev::{Service, ServiceResponse},
    http::{
        Method, StatusCode, Uri,
        header::{HeaderName, HeaderValue},
    },
    rt::System,
    test::{TestRequest, init_service},
    web::{Bytes, Data, Json, JsonConfig, Path, PayloadConfig, Query, resource, to},
};
use futures_util::future::join_all;
use idempotent_runtime::idempotent;
use serde_json::Value;

use super::{Answer, BODY_LIMIT, Sent, World, rules};

/// Any request is answered, and none has a second effect.
pub(crate) fn actix(data: &[u8]) {
    thread_local! {
        // Never dropped: at a thread's end actix-web's own thread locals may be gone already.
        static SERVER: &'static Server = Box::leak(Box::new(Server::new()));
    }
    SERVER.with(|server| rules::check(data, &server.world, |sent| server.answers(sent)));
}

struct Server {
    world: World,
    app: Box<dyn Fn(TestRequest) -> Answering>,
    system: actix_web::rt::SystemRunner,
}

type Answering = Pin<Box<dyn Future<Output = Answer>>>;

impl Server {
    fn new() -> Self {
        let world = World::new();
        let system = System::new();
        let app = App::new()
            .app_data(PayloadConfig::new(BODY_LIMIT))
            .app_data(JsonConfig::default().limit(BODY_LIMIT))
            .app_data(world.idempotency.clone())
            .app_data(Data::new(world.clone()))
            .service(resource("/required").route(to(required)))
            .service(resource("/user").route(to(user)))
            .service(resource("/optional").route(to(optional)))
            .service(resource("/derived").route(to(derived)))
            .service(resource("/expression/{order}").route(to(expression)));
        let service = system.block_on(init_service(app));
        Self {
            world,
            app: Box::new(move |request| {
                let answering = service.call(request.to_request());
                Box::pin(async move {
                    match answering.await {
                        Ok(response) => answer(response).await,
                        Err(error) => panic!("no error leaves an app: {error}"),
                    }
                })
            }),
            system,
        }
    }

    /// What is answered to requests that come at the same time.
    fn answers(&self, sent: &[Sent<'_>]) -> Option<Vec<Answer>> {
        let requests: Option<Vec<_>> = sent.iter().map(request).collect();
        let answers = requests?.into_iter().map(&self.app);
        Some(self.system.block_on(join_all(answers)))
    }
}

fn request(sent: &Sent<'_>) -> Option<TestRequest> {
    let mut request = TestRequest::with_uri("/")
        .method(Method::from_bytes(sent.method).ok()?)
        .set_payload(sent.body.clone());
    for (name, value) in &sent.headers {
        let name = HeaderName::from_bytes(name).ok()?;
        let value = HeaderValue::from_bytes(value).ok()?;
        request = request.append_header((name, value));
    }
    let target = Uri::try_from(sent.target).ok()?;
    Some(request.uri(&target.to_string()))
}

async fn answer(response: ServiceResponse<impl MessageBody>) -> Answer {
    let (_, response) = response.into_parts();
    let content_type = response.headers().get("content-type");
    let is_problem = content_type.is_some_and(|value| value == "application/problem+json");
    Answer {
        status: response.status().as_u16(),
        is_replay: response.headers().contains_key("idempotency-replayed"),
        is_problem,
        body: to_bytes(response.into_body())
            .await
            .unwrap_or_else(|_| panic!("a body in memory"))
            .to_vec(),
    }
}

async fn effect(world: &World, sent: &[u8]) -> HttpResponse {
    let (status, body) = world.effect(sent).await;
    HttpResponse::build(StatusCode::from_u16(status).unwrap_or_default()).body(body)
}

#[idempotent(scope = "global", ttl = "1m", max_response = "64B")]
async fn required(world: Data<World>, sent: Bytes) -> HttpResponse {
    effect(&world, &sent).await
}

#[idempotent(scope = "user", ttl = "1m", max_response = "64B")]
async fn user(world: Data<World>, Json(sent): Json<Value>) -> HttpResponse {
    effect(&world, sent.to_string().as_bytes()).await
}

#[idempotent(scope = "global", key = "optional", ttl = "1m", max_response = "64B")]
async fn optional(world: Data<World>, sent: Query<Value>) -> HttpResponse {
    effect(&world, sent.to_string().as_bytes()).await
}

#[idempotent(scope = "global", key = "derived", ttl = "1m", max_response = "64B")]
async fn derived(world: Data<World>, sent: String) -> HttpResponse {
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
    world: Data<World>,
    order: Path<String>,
    Json(sent): Json<Value>,
) -> HttpResponse {
    effect(
        &world,
        [order.as_bytes(), sent.to_string().as_bytes()]
            .concat()
            .as_slice(),
    )
    .await
}
