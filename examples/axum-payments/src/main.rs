//! A payments service on axum whose requests are safe to retry.
//!
//! What idempotency asks of an application is in four places: the attribute on each handler that
//! has an effect (`payments.rs`, `orders.rs`), and in this file the runtime over a store, the
//! layer that lets the handlers find it, and `drain` before the process ends.
//!
//! `cargo run -p axum-payments` starts it and says what to try: two commands, and a page at `/` on
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
//! | `LISTEN` | the address | `127.0.0.1:3000` |
//! | `RUST_LOG` | what is logged | `info,idempotent_runtime=debug` |

mod demonstration;
mod documentation;
mod error;
mod extract;
mod orders;
mod payments;

use std::{error::Error, process::ExitCode, time::Duration};

use axum::{
    Router,
    http::header::CONTENT_TYPE,
    routing::{get, post},
};
use idempotent_runtime::{
    Idempotency, MemoryStore, NearCache, PostgresStore, RedisStore, SqliteStore, admin,
    axum::{admin_router, issue_key},
    store::StoreError,
};
use ledger::{METRICS_TYPE, Metrics, Settings, StartError, Store};
use tokio::{net::TcpListener, sync::oneshot};

/// How often what has expired is removed from a database. (Redis does that by itself.)
const SWEEP: Duration = Duration::from_mins(1);

#[tokio::main]
async fn main() -> ExitCode {
    ledger::log_to_stderr();
    ledger::exit_code(serve().await)
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_env("127.0.0.1:3000")?;
    let (store, ledger) = settings.open().await?;
    let metrics = Metrics::install()?;
    let idempotency = idempotency(store, &settings)
        .await
        .map_err(StartError::store)?;
    let observed = idempotency.clone();
    let mut router = Router::new()
        .route("/payments", post(payments::create).get(payments::list))
        .route("/payments/{id}", get(payments::show))
        .route("/orders", post(orders::create).get(orders::list))
        .route("/orders/{id}", get(orders::show))
        .route("/idempotency-keys", post(issue_key))
        .route("/healthz", get(|| async { "ok" }))
        // A service lets only its own network see them.
        .route(
            "/metrics",
            get(async move || {
                observed.record_gauges();
                ([(CONTENT_TYPE, METRICS_TYPE)], metrics.render())
            }),
        )
        .merge(demonstration::routes())
        .merge(documentation::page())
        .layer(idempotency.clone())
        .with_state(ledger);
    if let Some(token) = &settings.admin_token {
        let operators = admin_router(idempotency.clone(), admin::bearer_token(token.as_str()));
        router = router.nest("/admin/idempotency", operators);
    }

    let listener = TcpListener::from_std(settings.listen("axum-payments")?)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, router).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let mut server = tokio::spawn(server.into_future());

    ledger::until_stop(&mut server).await?;
    ledger::within_grace(async {
        // Accepts nothing more, and finishes the requests that are there.
        drop(stop);
        let _ = server.await;
        // Handlers whose client went away are still running, to their end.
        idempotency.drain().await;
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
            tokio::spawn(store.sweep_every(SWEEP));
            over(store, settings)
        }
        Store::Postgres(pool) => {
            let store = PostgresStore::new(pool);
            store.migrate().await?;
            tokio::spawn(store.sweep_every(SWEEP));
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
