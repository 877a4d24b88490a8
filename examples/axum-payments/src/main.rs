//! A payments service on axum whose requests are safe to retry.
//!
//! What idempotency asks of an application is in four places: the attribute on each handler that
//! has an effect (`payments.rs`, `orders.rs`), and in this file the runtime over a store, the
//! layer that lets the handlers find it, and `drain` before the process ends.
//!
//! `cargo run -p axum-payments` starts it and says what to try. `LISTEN` sets the address,
//! `RUST_LOG` what is logged.

mod error;
mod extract;
mod orders;
mod payments;

use std::{error::Error, process::ExitCode};

use axum::{
    Router,
    routing::{get, post},
};
use idempotent_runtime::{Idempotency, MemoryStore, axum::issue_key};
use ledger::{Settings, Store};
use tokio::{net::TcpListener, sync::oneshot};

#[tokio::main]
async fn main() -> ExitCode {
    ledger::log_to_stderr();
    ledger::exit_code(serve().await)
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_env("127.0.0.1:3000")?;
    let (store, ledger) = settings.open().await?;
    let idempotency = match store {
        Store::Memory => Idempotency::builder(MemoryStore::default()),
        other => return Err(format!("not wired: {other:?}").into()),
    };
    let idempotency = idempotency.build();
    let router = Router::new()
        .route("/payments", post(payments::create).get(payments::list))
        .route("/payments/{id}", get(payments::show))
        .route("/orders", post(orders::create).get(orders::list))
        .route("/orders/{id}", get(orders::show))
        .route("/idempotency-keys", post(issue_key))
        .route("/healthz", get(|| async { "ok" }))
        .layer(idempotency.clone())
        .with_state(ledger);

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
