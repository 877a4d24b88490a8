//! In axum.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    routing::{get, post},
};
use bytes::Bytes;
use idempotent_runtime::idempotent;
use tokio::net::TcpSocket;

use super::{BODY_LIMIT, Ledger, World};
use crate::Failure;

type Answer = (StatusCode, String);

pub(super) fn serve(world: World, protected: bool) -> Result<(), Failure> {
    let idempotency = world.idempotency.clone();
    let pay = if protected {
        post(pay)
    } else {
        post(unprotected)
    };
    let router = Router::new()
        .route("/pay", pay)
        .route("/hold", post(hold))
        .route("/hold/wait", post(hold_and_wait))
        .route("/open", post(open))
        .route("/ledger", get(ledger))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(idempotency)
        .with_state(Arc::new(world));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        let listener = socket.listen(4096)?;
        println!("{}", listener.local_addr()?);
        axum::serve(listener, router).await?;
        Ok(())
    })
}

fn answer((status, body): (u16, String)) -> Answer {
    (StatusCode::from_u16(status).unwrap_or_default(), body)
}

#[idempotent(scope = "user", max_response = "4KiB")]
async fn pay(State(world): State<Arc<World>>, body: Bytes) -> Answer {
    answer(world.pay(&body))
}

async fn unprotected(State(world): State<Arc<World>>, body: Bytes) -> Answer {
    answer(world.pay(&body))
}

#[idempotent(scope = "user")]
async fn hold(State(world): State<Arc<World>>, body: Bytes) -> Answer {
    answer(world.hold(&body).await)
}

#[idempotent(scope = "user", wait = "5m")]
async fn hold_and_wait(State(world): State<Arc<World>>, body: Bytes) -> Answer {
    answer(world.hold(&body).await)
}

async fn open(State(world): State<Arc<World>>) {
    world.open();
}

async fn ledger(State(world): State<Arc<World>>) -> Json<Ledger> {
    Json(world.told())
}
