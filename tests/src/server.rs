//! A running server of either framework, which speaks HTTP/1.1 and HTTP/2.

use std::{net::SocketAddr, sync::mpsc, thread::JoinHandle};

use actix_web::dev::Service as _;
use axum::http::{HeaderName, HeaderValue, Method};
use idempotent_runtime::{CORS_ALLOW_HEADERS, CORS_EXPOSE_HEADERS, Idempotency, admin};
use tokio::sync::oneshot;

use crate::{
    app::{Framework, OPERATOR},
    extract::{verify_actix, verify_axum},
    handlers::{on_actix, on_axum},
    logs,
    world::World,
};

#[derive(Clone, Debug)]
pub(crate) struct Wiring {
    pub(crate) framework: Framework,
    pub(crate) idempotency: Option<Idempotency>,
    pub(crate) world: World,
    pub(crate) body_limit: Option<usize>,
    pub(crate) cors: bool,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) async fn start(wiring: Wiring) -> Self {
        let (started, address) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || match wiring.framework {
            Framework::Axum => serve_axum(&wiring, &started, stopped),
            Framework::Actix => serve_actix(wiring, &started, stopped),
        });
        let address = tokio::task::spawn_blocking(move || address.recv().unwrap());
        Self {
            address: address.await.unwrap(),
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve_axum(wiring: &Wiring, started: &mpsc::Sender<SocketAddr>, stopped: oneshot::Receiver<()>) {
    let mut router = on_axum::router().layer(axum::Extension(wiring.world.clone()));
    if let Some(limit) = wiring.body_limit {
        router = router.layer(axum::extract::DefaultBodyLimit::max(limit));
    }
    if let Some(idempotency) = &wiring.idempotency {
        let operators = idempotent_runtime::axum::admin_router(
            idempotency.clone(),
            admin::bearer_token(OPERATOR),
        );
        router = router
            .layer(idempotency.clone())
            .nest("/admin/idempotency", operators);
    }
    if wiring.cors {
        let headers = |names: &[&'static str]| -> Vec<_> {
            let names = names.iter().copied();
            names.map(HeaderName::from_static).collect()
        };
        router = router.layer(
            tower_http::cors::CorsLayer::new()
                .allow_origin(HeaderValue::from_static("https://shop.example"))
                .allow_methods([Method::POST])
                .allow_headers(headers(&CORS_ALLOW_HEADERS))
                .expose_headers(headers(&CORS_EXPOSE_HEADERS)),
        );
    }
    let router = router.layer(axum::middleware::map_request(
        |mut request: axum::extract::Request| async {
            verify_axum(&mut request);
            request
        },
    ));
    let router = router.layer(axum::middleware::from_fn(
        |request: axum::extract::Request, next: axum::middleware::Next| {
            let id = request.headers().get("x-request-id");
            let id = id.map(|id| id.to_str().unwrap().to_owned());
            logs::in_span(id, next.run(request))
        },
    ));
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            started.send(listener.local_addr().unwrap()).unwrap();
            tokio::select! {
                served = axum::serve(listener, router) => served.unwrap(),
                _ = stopped => {}
            }
        });
}

fn serve_actix(wiring: Wiring, started: &mpsc::Sender<SocketAddr>, stopped: oneshot::Receiver<()>) {
    let app = move || {
        let mut app = actix_web::App::new()
            .app_data(wiring.world.clone())
            .configure(on_actix::configure);
        if let Some(limit) = wiring.body_limit {
            app = app.app_data(actix_web::web::PayloadConfig::new(limit));
        }
        if let Some(idempotency) = &wiring.idempotency {
            app =
                app.app_data(idempotency.clone())
                    .service(idempotent_runtime::actix::admin_scope(
                        "/admin/idempotency",
                        idempotency.clone(),
                        admin::bearer_token(OPERATOR),
                    ));
        }
        let cors = actix_cors::Cors::default()
            .allowed_origin("https://shop.example")
            .allowed_methods(["POST"])
            .allowed_headers(CORS_ALLOW_HEADERS)
            .expose_headers(CORS_EXPOSE_HEADERS);
        let app = app.wrap(actix_web::middleware::Condition::new(wiring.cors, cors));
        app.wrap_fn(|request, service| {
            verify_actix(&request);
            let id = request.headers().get("x-request-id");
            let id = id.map(|id| id.to_str().unwrap().to_owned());
            logs::in_span(id, service.call(request))
        })
    };
    actix_web::rt::System::new().block_on(async {
        let server = actix_web::HttpServer::new(app)
            .workers(2)
            .disable_signals()
            .bind_auto_h2c("127.0.0.1:0")
            .unwrap();
        started.send(server.addrs()[0]).unwrap();
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(async move {
            let _ = stopped.await;
            handle.stop(false).await;
        });
        server.await.unwrap();
    });
}
