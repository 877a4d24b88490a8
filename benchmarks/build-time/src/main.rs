//! One route, in a framework, with a system or with none: the feature says which. It is built, and
//! needs not be run.

#[cfg(feature = "axum")]
fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
        axum::serve(listener, on_axum::app()).await
    })
}

#[cfg(feature = "axum")]
mod on_axum {
    use axum::{Router, routing::post};

    #[cfg_attr(
        feature = "idempotent-axum",
        idempotent_runtime::idempotent(scope = "global")
    )]
    async fn pay(body: String) -> String {
        body
    }

    pub(super) fn app() -> Router {
        let app = Router::new().route("/payments", post(pay));
        #[cfg(feature = "idempotent-axum")]
        let app = {
            use idempotent_runtime::{Idempotency, MemoryStore};
            app.layer(Idempotency::builder(MemoryStore::default()).build())
        };
        #[cfg(feature = "idempotent-2")]
        let app = {
            use idempotent::{memory::MemoryStore, middleware::IdempotencyLayer};
            let store = MemoryStore::builder().try_build().expect("a runtime");
            app.layer(IdempotencyLayer::new(store))
        };
        #[cfg(feature = "axum-idempotent")]
        let app = {
            use axum_idempotent::{IdempotentLayer, IdempotentOptions};
            use ruts::{CookieOptions, SessionLayer, store::moka::MokaStore};
            let options = IdempotentOptions::default().use_idempotency_key_header(None, true);
            let store = std::sync::Arc::new(MokaStore::builder().build());
            app.layer(IdempotentLayer::<MokaStore>::new(options))
                .layer(
                    SessionLayer::new(store)
                        .with_cookie_options(CookieOptions::build().name("session")),
                )
                .layer(tower_cookies::CookieManagerLayer::new())
        };
        app
    }
}

#[cfg(all(feature = "actix", not(feature = "axum")))]
#[actix_web::main]
async fn main() -> std::io::Result<()> {
    use actix_web::{App, HttpServer, web::post};

    #[cfg_attr(
        feature = "idempotent-actix",
        idempotent_runtime::idempotent(scope = "global")
    )]
    async fn pay(body: String) -> String {
        body
    }

    #[cfg(feature = "idempotent-actix")]
    let idempotency = {
        use idempotent_runtime::{Idempotency, MemoryStore};
        Idempotency::builder(MemoryStore::default()).build()
    };
    #[cfg(feature = "actix-idempotent")]
    let key = actix_web::cookie::Key::generate();
    HttpServer::new(move || {
        let app = App::new();
        #[cfg(feature = "idempotent-actix")]
        let app = app.app_data(idempotency.clone());
        #[cfg(feature = "actix-idempotent")]
        let app = app
            .wrap(actix_idempotent::IdempotentFactory::new(Default::default()))
            .wrap(actix_session::SessionMiddleware::new(
                actix_session::storage::CookieSessionStore::default(),
                key.clone(),
            ));
        app.route("/payments", post().to(pay))
    })
    .bind("127.0.0.1:3000")?
    .run()
    .await
}

#[cfg(not(any(feature = "axum", feature = "actix")))]
fn main() {
    eprintln!("choose a system: `--features`, as `run` does");
}
