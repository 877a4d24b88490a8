//! A payments service on actix-web whose requests are safe to retry.
//!
//! What idempotency asks of an application is in four places: the attribute on each handler that
//! has an effect (`payments.rs`, `orders.rs`), and in this file the runtime over a store, the
//! app data that lets the handlers find it, and `drain` before the process ends.
//!
//! `cargo run -p actix-payments` starts it and says what to try: two commands, and a page at `/` on
//! which payments are broken on purpose (`demonstration.rs`). What the API promises is at `/docs/`
//! (`documentation.rs`), and `/metrics` is for Prometheus. The environment says the rest:
//!
//! | variable | what it sets | default |
//! |---|---|---|
//! | `STORE` | where outcomes and entries are kept: `memory`, `sqlite:<path>`, `postgres://…`, `redis://…` | `memory` |
//! | `LEDGER` | the SQLite file of the entries: needed with Redis, possible with PostgreSQL | |
//! | `NEAR_CACHE_BYTES` | how much memory may hold copies of records, such as `16MiB` | `0` |
//! | `LEASE`, `TTL` | durations in place of the attributes', such as `5s`; for experiments | |
//! | `ON_LOST` | `rerun` or `refuse` in place of the attributes'; for experiments | |
//! | `ADMIN_TOKEN` | the bearer token of operators, who find their routes under `/admin/idempotency`; without it there are none | |
//! | `LISTEN` | the address | `127.0.0.1:3001` |
//! | `RUST_LOG` | what is logged | `info,idempotent_runtime=debug` |

mod demonstration;
mod documentation;
mod error;
mod extract;
mod orders;
mod payments;

use std::{error::Error, process::ExitCode, time::Duration};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, Responder, get, rt, web};
use idempotent_runtime::{
    Idempotency, MemoryStore, NearCache, PostgresStore, RedisStore, SqliteStore,
    actix::{admin_scope, issue_key},
    admin,
    store::StoreError,
};
use ledger::{METRICS_TYPE, Metrics, Settings, StartError, Store};

/// How often what has expired is removed from a database. (Redis does that by itself.)
const SWEEP: Duration = Duration::from_mins(1);

#[actix_web::main]
async fn main() -> ExitCode {
    ledger::log_to_stderr();
    ledger::exit_code(serve().await)
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_env("127.0.0.1:3001")?;
    let (store, ledger) = settings.open().await?;
    let metrics = web::Data::new(Metrics::install()?);
    let idempotency = idempotency(store, &settings)
        .await
        .map_err(StartError::store)?;
    let ledger = web::Data::new(ledger);
    let found_by_handlers = idempotency.clone();
    let admin_token = settings.admin_token.clone();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(found_by_handlers.clone())
            .app_data(ledger.clone())
            .app_data(metrics.clone())
            .app_data(extract::payload_config())
            .app_data(extract::json_config())
            .service((payments::create, payments::list, payments::show))
            .service((orders::create, orders::list, orders::show))
            .route("/idempotency-keys", web::post().to(issue_key))
            .configure(demonstration::routes)
            .service(documentation::page())
            .configure(|config| {
                if let Some(token) = &admin_token {
                    let operator = admin::bearer_token(token.as_str());
                    let idempotency = found_by_handlers.clone();
                    config.service(admin_scope("/admin/idempotency", idempotency, operator));
                }
            })
            .service((healthz, all_metrics))
    })
    .disable_signals()
    .listen(settings.listen("actix-payments")?)?
    .run();

    let handle = server.handle();
    let mut server = rt::spawn(server);

    ledger::until_stop(&mut server).await?;
    ledger::within_grace(async {
        handle.pause().await;
        // A handler whose client went away is still running, in the worker that it began in. So
        // the workers stay until all have come to their end.
        idempotency.drain().await;
        handle.stop(true).await;
    })
    .await;
    Ok(())
}

/// The runtime over a store. An application has one of these stores.
async fn idempotency(store: Store, settings: &Settings) -> Result<Idempotency, StoreError> {
    Ok(match store {
        Store::Memory => over(MemoryStore::default(), settings),
        Store::Sqlite(pool) => {
            let store = SqliteStore::with_pool(&pool).await?;
            store.migrate().await?;
            rt::spawn(store.sweep_every(SWEEP));
            over(store, settings)
        }
        Store::Postgres(pool) => {
            let store = PostgresStore::new(pool);
            store.migrate().await?;
            rt::spawn(store.sweep_every(SWEEP));
            over(store, settings)
        }
        Store::Redis(address) => over(RedisStore::connect(address.as_str()).await?, settings),
    })
}

/// With copies of finished records in this process's memory, if there is to be room for them.
/// `lease`, `ttl` and `on_lost` are the attributes' affair, and are set here for experiments only.
fn over(store: impl idempotent_runtime::Store, settings: &Settings) -> Idempotency {
    let mut builder = match settings.near_cache {
        Some(bytes) => Idempotency::builder(NearCache::new(store, bytes)),
        None => Idempotency::builder(store),
    };
    builder = builder.expires_header(true);
    if let Some(lease) = settings.lease {
        builder = builder.lease(lease);
    }
    if let Some(ttl) = settings.ttl {
        builder = builder.ttl(ttl);
    }
    if let Some(on_lost) = settings.on_lost {
        builder = builder.on_lost(on_lost);
    }
    builder.build()
}

/// For Prometheus. A service lets only its own network see them.
#[get("/metrics")]
async fn all_metrics(request: HttpRequest, metrics: web::Data<Metrics>) -> impl Responder + use<> {
    if let Some(idempotency) = request.app_data::<Idempotency>() {
        idempotency.record_gauges();
    }
    HttpResponse::Ok()
        .content_type(METRICS_TYPE)
        .body(metrics.render())
}

#[get("/healthz")]
async fn healthz() -> impl Responder {
    "ok"
}
