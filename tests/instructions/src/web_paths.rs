//! A payment, bare and protected, in both frameworks, in process.

use std::hint::black_box;

use idempotent_runtime::{Idempotency, MemoryStore, idempotent};
use serde::{Deserialize, Serialize};

use crate::{
    Path,
    Role::{Bare, Beside},
};

#[derive(Deserialize, Serialize)]
struct Payment {
    user: String,
    amount: i64,
    currency: String,
}

const BODY: &str = r#"{"user":"alice","amount":100,"currency":"USD"}"#;

/// The application, and the keys that its requests have.
#[derive(Clone, Copy)]
enum App {
    Bare,
    /// The runtime is there, and no handler uses it.
    Installed,
    Protected,
}

#[derive(Clone, Copy)]
enum Keys {
    None,
    Fresh,
    Same,
}

macro_rules! paths {
    ($($name:literal, $role:expr, $send:ident, $app:ident, $keys:ident;)*) => {
        pub(crate) const PATHS: &[Path] = &[$(Path {
            name: $name,
            role: $role,
            run: |times| $send(App::$app, Keys::$keys, times),
        }),*];
    };
}

paths! {
    "axum: bare", Bare, axum, Bare, None;
    "axum: bare, with a key", Bare, axum, Bare, Fresh;
    "axum: installed", Beside("axum: bare"), axum, Installed, None;
    "axum: no key", Beside("axum: bare"), axum, Protected, None;
    "axum: first", Beside("axum: bare, with a key"), axum, Protected, Fresh;
    "axum: replay", Beside("axum: bare, with a key"), axum, Protected, Same;
    "actix-web: bare", Bare, actix, Bare, None;
    "actix-web: bare, with a key", Bare, actix, Bare, Fresh;
    "actix-web: installed", Beside("actix-web: bare"), actix, Installed, None;
    "actix-web: no key", Beside("actix-web: bare"), actix, Protected, None;
    "actix-web: first", Beside("actix-web: bare, with a key"), actix, Protected, Fresh;
    "actix-web: replay", Beside("actix-web: bare, with a key"), actix, Protected, Same;
}

fn axum(app: App, keys: Keys, times: u64) {
    use axum::{
        Json, Router,
        body::Body,
        http::{Request, StatusCode},
        routing::post,
    };
    use tower_service::Service as _;

    async fn bare(Json(payment): Json<Payment>) -> (StatusCode, Json<Payment>) {
        (StatusCode::CREATED, Json(payment))
    }
    #[idempotent(scope = "global", key = "optional")]
    async fn protected(Json(payment): Json<Payment>) -> (StatusCode, Json<Payment>) {
        (StatusCode::CREATED, Json(payment))
    }

    let router = match app {
        App::Bare => Router::new().route("/payments", post(bare)),
        App::Installed => Router::new()
            .route("/payments", post(bare))
            .layer(idempotency()),
        App::Protected => Router::new()
            .route("/payments", post(protected))
            .layer(idempotency()),
    };
    // As `axum::serve` does, so that nothing is put together for each request.
    let router: Router = router.with_state(());
    runtime().block_on(async {
        for number in 0..times {
            let mut request = Request::builder()
                .method("POST")
                .uri("/payments")
                .header("content-type", "application/json");
            if let Some(key) = keys.of(number) {
                request = request.header("idempotency-key", key);
            }
            let request = request.body(Body::from(BODY)).expect("a request");
            let response = router.clone().call(request).await.expect("a response");
            assert_eq!(response.status(), StatusCode::CREATED);
            let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
            black_box(body.expect("a body"));
        }
    });
}

fn actix(app: App, keys: Keys, times: u64) {
    use actix_web::{
        HttpResponse,
        test::{TestRequest, call_service, init_service, read_body},
        web::{Json, post},
    };

    async fn bare(payment: Json<Payment>) -> HttpResponse {
        HttpResponse::Created().json(&*payment)
    }
    #[idempotent(scope = "global", key = "optional")]
    async fn protected(payment: Json<Payment>) -> HttpResponse {
        HttpResponse::Created().json(&*payment)
    }

    let application = actix_web::App::new();
    let application = match app {
        App::Bare => application.route("/payments", post().to(bare)),
        App::Installed => application
            .app_data(idempotency())
            .route("/payments", post().to(bare)),
        App::Protected => application
            .app_data(idempotency())
            .route("/payments", post().to(protected)),
    };
    runtime().block_on(async {
        let service = init_service(application).await;
        for number in 0..times {
            let mut request = TestRequest::post()
                .uri("/payments")
                .insert_header(("content-type", "application/json"))
                .set_payload(BODY);
            if let Some(key) = keys.of(number) {
                request = request.insert_header(("idempotency-key", key));
            }
            let response = call_service(&service, request.to_request()).await;
            assert_eq!(response.status().as_u16(), 201);
            black_box(read_body(response).await);
        }
    });
}

impl Keys {
    /// As clients send it: 36 characters.
    fn of(self, number: u64) -> Option<String> {
        let number = match self {
            Self::None => return None,
            Self::Fresh => number + 1,
            Self::Same => 0,
        };
        Some(format!("{number:08x}-0000-4000-8000-000000000000"))
    }
}

fn idempotency() -> Idempotency {
    Idempotency::builder(MemoryStore::default()).build()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}
