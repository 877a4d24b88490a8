//! The same handler, bare and protected, in both frameworks, called in process.

use std::{
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
};

use idempotent_runtime::{Idempotency, MemoryStore, Store, idempotent};
use serde::{Deserialize, Serialize};

use crate::floor;

#[derive(Deserialize, Serialize)]
pub(crate) struct Payment {
    user: String,
    amount: i64,
    currency: String,
}

const BODY: &str = r#"{"user":"alice","amount":100,"currency":"USD"}"#;

/// A way through an application.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// The handler without the attribute, in a router without the layer.
    Bare,
    /// The same, and the request has a key, as those of a client that wants protection do.
    BareKeyed,
    /// The handler without the attribute, in a router with the layer: what axum takes for any
    /// layer at all, and for finding the runtime. In actix-web, with the app data.
    Installed,
    /// A new key for each request.
    First,
    /// The same key for all.
    Replay,
    /// No key, to a handler whose key is optional.
    NoKey,
    /// The floor of no key: the handler without the attribute in a router with a layer that does
    /// nothing. In actix-web, which needs no layer, with app data.
    FloorNoKey,
    /// The floor of a first execution.
    FloorFirst,
    /// The floor of a replay.
    FloorReplay,
}

impl Path {
    pub(crate) const ALL: [Self; 9] = [
        Self::Bare,
        Self::BareKeyed,
        Self::Installed,
        Self::First,
        Self::Replay,
        Self::NoKey,
        Self::FloorNoKey,
        Self::FloorFirst,
        Self::FloorReplay,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::BareKeyed => "bare, with a key",
            Self::Installed => "installed",
            Self::First => "first",
            Self::Replay => "replay",
            Self::NoKey => "no key",
            Self::FloorNoKey => "no key, floor",
            Self::FloorFirst => "first, floor",
            Self::FloorReplay => "replay, floor",
        }
    }
}

type Send = Box<dyn Fn(&tokio::runtime::Runtime, Path, u64)>;

/// An application, and what it takes to call it.
pub(crate) struct App {
    name: &'static str,
    runtime: Rc<tokio::runtime::Runtime>,
    send: Send,
}

impl App {
    /// Both frameworks, on an empty memory store each.
    pub(crate) fn all() -> Vec<Self> {
        vec![
            Self::axum(MemoryStore::default()),
            Self::actix(MemoryStore::default()),
        ]
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Sends so many requests, one after the other.
    pub(crate) fn send(&self, path: Path, requests: u64) {
        (self.send)(&self.runtime, path, requests);
    }

    pub(crate) fn axum(store: impl Store) -> Self {
        use axum::{
            Json, Router,
            body::Body,
            http::{Request, StatusCode, header::CONTENT_TYPE},
            routing::post,
        };
        use tower_service::Service;

        async fn bare(Json(payment): Json<Payment>) -> (StatusCode, Json<Payment>) {
            (StatusCode::CREATED, Json(payment))
        }
        #[idempotent(scope = "global", key = "optional")]
        async fn protected(Json(payment): Json<Payment>) -> (StatusCode, Json<Payment>) {
            (StatusCode::CREATED, Json(payment))
        }

        let idempotency = Idempotency::builder(store).build();
        // As `axum::serve` does, so that nothing is put together for each request.
        let bare: Router = Router::new().route("/payments", post(bare)).with_state(());
        let installed = bare.clone().layer(idempotency.clone());
        let layered = bare.clone().layer(tower_layer::Identity::new());
        let floor: Router = Router::new()
            .route("/payments", post(floor::axum::handler))
            .layer(tower_layer::Identity::new())
            .with_state(floor::axum::Records::default());
        let protected: Router = Router::new()
            .route("/payments", post(protected))
            .layer(idempotency)
            .with_state(());
        let send = move |runtime: &tokio::runtime::Runtime, path, requests| {
            let app = match path {
                Path::Bare | Path::BareKeyed => &bare,
                Path::Installed => &installed,
                Path::FloorNoKey => &layered,
                Path::FloorFirst | Path::FloorReplay => &floor,
                Path::First | Path::Replay | Path::NoKey => &protected,
            };
            runtime.block_on(async {
                for _ in 0..requests {
                    let mut request = Request::builder()
                        .method("POST")
                        .uri("/payments")
                        .header(CONTENT_TYPE, "application/json");
                    if let Some(key) = key(path) {
                        request = request.header("idempotency-key", key);
                    }
                    let request = request.body(Body::from(BODY)).expect("a request");
                    let response = app.clone().call(request).await.expect("a response");
                    assert_eq!(response.status(), StatusCode::CREATED);
                    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
                    std::hint::black_box(body.expect("a body"));
                }
            });
        };
        Self::new("axum", send)
    }

    pub(crate) fn actix(store: impl Store) -> Self {
        use actix_web::{
            HttpResponse,
            dev::{Service, ServiceResponse},
            test::{TestRequest, init_service, read_body},
            web,
        };

        async fn bare(payment: web::Json<Payment>) -> HttpResponse {
            HttpResponse::Created().json(&*payment)
        }
        #[idempotent(scope = "global", key = "optional")]
        async fn protected(payment: web::Json<Payment>) -> HttpResponse {
            HttpResponse::Created().json(&*payment)
        }

        let idempotency = Idempotency::builder(store).build();
        let app = Self::new("actix", |_, _, _| {});
        let records = web::Data::new(floor::actix::Records::default());
        let (bare, installed, protected, floor) = app.runtime.block_on(async {
            let without = actix_web::App::new().route("/payments", web::post().to(bare));
            let installed = actix_web::App::new()
                .app_data(idempotency.clone())
                .route("/payments", web::post().to(bare));
            let protected = actix_web::App::new()
                .app_data(idempotency)
                .route("/payments", web::post().to(protected));
            let floor = actix_web::App::new()
                .app_data(records)
                .route("/payments", web::post().to(floor::actix::handler));
            (
                init_service(without).await,
                init_service(installed).await,
                init_service(protected).await,
                init_service(floor).await,
            )
        });
        let send = move |runtime: &tokio::runtime::Runtime, path, requests| {
            runtime.block_on(async {
                for _ in 0..requests {
                    let mut request = TestRequest::post()
                        .uri("/payments")
                        .insert_header(("content-type", "application/json"))
                        .set_payload(BODY);
                    if let Some(key) = key(path) {
                        request = request.insert_header(("idempotency-key", key));
                    }
                    let request = request.to_request();
                    let response: ServiceResponse = match path {
                        Path::Bare | Path::BareKeyed => bare.call(request).await,
                        Path::Installed | Path::FloorNoKey => installed.call(request).await,
                        Path::FloorFirst | Path::FloorReplay => floor.call(request).await,
                        Path::First | Path::Replay | Path::NoKey => protected.call(request).await,
                    }
                    .expect("a response");
                    assert_eq!(response.status().as_u16(), 201);
                    std::hint::black_box(read_body(response).await);
                }
            });
        };
        Self {
            send: Box::new(send),
            ..app
        }
    }

    fn new(
        name: &'static str,
        send: impl Fn(&tokio::runtime::Runtime, Path, u64) + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            name,
            runtime: Rc::new(runtime),
            send: Box::new(send),
        }
    }
}

/// A key as clients send it: 36 characters.
fn key(path: Path) -> Option<String> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = match path {
        Path::First | Path::FloorFirst | Path::BareKeyed => NEXT.fetch_add(1, Ordering::Relaxed),
        Path::Replay | Path::FloorReplay => 0,
        Path::Bare | Path::Installed | Path::NoKey | Path::FloorNoKey => return None,
    };
    Some(format!("{number:08x}-0000-4000-8000-000000000000"))
}
