//! The systems for axum.

use std::sync::Arc;

use axum::{
    Json, Router,
    http::StatusCode,
    routing::{get, post},
};
use axum_idempotent::{IdempotentLayer, IdempotentOptions};
use idempotent::middleware::IdempotencyLayer;
use idempotent_runtime::idempotent;
use ruts::{
    CookieOptions, Session, SessionLayer,
    store::{Ttl, moka::MokaStore},
};
use tower_cookies::CookieManagerLayer;

use super::CALLER;
use crate::{
    payment::{
        LOGIN, NewPayment, PAYMENTS, Payment, RUNS, SLOW, SLOW_WAIT, pay, pay_slowly, slow_runs,
    },
    system::System,
};

const DAY: u32 = 24 * 60 * 60;

/// Must be called inside of the runtime that serves it: `idempotent` 2.0 starts a task there.
pub(crate) fn router(system: System) -> Router {
    let router = match system {
        System::Axum => this_one(),
        System::Idempotent2 => bare().layer(idempotent_2()),
        System::AxumIdempotent => axum_idempotent(),
        _ => bare(),
    };
    // As `axum::serve` does, so that nothing is put together for each request.
    router.route(RUNS, get(async || slow_runs())).with_state(())
}

type Paid = (StatusCode, Json<Payment>);

fn bare() -> Router {
    async fn fast(Json(payment): Json<NewPayment>) -> Paid {
        (StatusCode::CREATED, Json(pay(payment)))
    }
    async fn slow(Json(payment): Json<NewPayment>) -> Paid {
        (StatusCode::CREATED, Json(pay_slowly(payment).await))
    }
    Router::new()
        .route(PAYMENTS, post(fast))
        .route(SLOW, post(slow))
}

fn this_one() -> Router {
    #[idempotent(scope = "user", key = "optional")]
    async fn fast(Json(payment): Json<NewPayment>) -> Paid {
        (StatusCode::CREATED, Json(pay(payment)))
    }
    #[idempotent(scope = "user")]
    async fn slow(Json(payment): Json<NewPayment>) -> Paid {
        (StatusCode::CREATED, Json(pay_slowly(payment).await))
    }
    #[idempotent(scope = "user", wait = "5s")]
    async fn slow_wait(Json(payment): Json<NewPayment>) -> Paid {
        (StatusCode::CREATED, Json(pay_slowly(payment).await))
    }
    Router::new()
        .route(PAYMENTS, post(fast))
        .route(SLOW, post(slow))
        .route(SLOW_WAIT, post(slow_wait))
        .layer(super::idempotency())
}

fn idempotent_2() -> IdempotencyLayer<idempotent::memory::MemoryStore> {
    let store = idempotent::memory::MemoryStore::builder()
        .try_build()
        .expect("a runtime is entered");
    IdempotencyLayer::new(store).scope(|parts| {
        let caller = parts.headers.get(CALLER)?;
        caller.to_str().ok().map(String::from)
    })
}

/// In the mode that its documentation calls the most performant one, with the session store that
/// it shows. That evicts from 10,000 sessions on if it is not told otherwise.
fn axum_idempotent() -> Router {
    async fn login(session: Session<MokaStore>) -> StatusCode {
        let ttl = Ttl::new(DAY.into()).expect("a day");
        match session.set("user", &"alice", ttl, None).await {
            Ok(()) => StatusCode::CREATED,
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
    let store = MokaStore::builder().max_capacity(10_000_000).build();
    let options = IdempotentOptions::default()
        .use_idempotency_key_header(Some("idempotency-key"), false)
        .expire_after(DAY.into());
    let cookie = CookieOptions::build().name("session").max_age(DAY.into());
    bare()
        .layer(IdempotentLayer::<MokaStore>::new(options))
        .route(LOGIN, post(login))
        .layer(SessionLayer::new(Arc::new(store)).with_cookie_options(cookie))
        .layer(CookieManagerLayer::new())
}
