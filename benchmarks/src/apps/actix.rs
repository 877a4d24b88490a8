//! The systems for actix-web.

use actix_idempotent::{IdempotentFactory, IdempotentOptions};
use actix_session::{
    Session, SessionMiddleware,
    config::{CookieContentSecurity, PersistentSession},
};
use actix_web::{
    App, Error, HttpResponse,
    body::MessageBody,
    cookie::{Key, time::Duration},
    dev::{ServiceFactory, ServiceRequest, ServiceResponse},
    web::{Bytes, Json, get, post},
};
use idempotent_runtime::{Idempotency, idempotent};

pub(crate) use super::sessions::Sessions;
use crate::payment::{
    LOGIN, NewPayment, PAYMENTS, RUNS, SLOW, SLOW_WAIT, pay, pay_slowly, slow_runs,
};

/// What an application shares between its workers.
pub(crate) fn idempotency() -> Idempotency {
    super::idempotency()
}

pub(crate) fn bare() -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    App::new()
        .route(PAYMENTS, post().to(fast))
        .route(SLOW, post().to(slow))
        .route(RUNS, get().to(async || slow_runs()))
}

pub(crate) fn this_one(
    idempotency: Idempotency,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    #[idempotent(scope = "user", key = "optional")]
    async fn fast(payment: Json<NewPayment>) -> HttpResponse {
        HttpResponse::Created().json(pay(payment.into_inner()))
    }
    #[idempotent(scope = "user")]
    async fn slow(payment: Json<NewPayment>) -> HttpResponse {
        HttpResponse::Created().json(pay_slowly(payment.into_inner()).await)
    }
    #[idempotent(scope = "user", wait = "5s")]
    async fn slow_wait(payment: Json<NewPayment>) -> HttpResponse {
        HttpResponse::Created().json(pay_slowly(payment.into_inner()).await)
    }
    App::new()
        .app_data(idempotency)
        .route(PAYMENTS, post().to(fast))
        .route(SLOW, post().to(slow))
        .route(SLOW_WAIT, post().to(slow_wait))
        .route(RUNS, get().to(async || slow_runs()))
}

/// As its documentation shows it, but for the sessions' place. They are signed, which takes less
/// time than the encryption that is actix-session's default.
pub(crate) fn actix_idempotent(
    sessions: Sessions,
    key: Key,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    // A request whose body nobody reads would cost the connection.
    async fn login(session: Session, _: Bytes) -> HttpResponse {
        match session.insert("user", "alice") {
            Ok(()) => HttpResponse::Created().finish(),
            Err(_) => HttpResponse::InternalServerError().finish(),
        }
    }
    let protect = IdempotentFactory::new(IdempotentOptions::default());
    let lifecycle = PersistentSession::default().session_ttl(Duration::days(1));
    let sessions = SessionMiddleware::builder(sessions, key)
        .cookie_name("session".to_owned())
        .cookie_content_security(CookieContentSecurity::Signed)
        .session_lifecycle(lifecycle)
        .build();
    App::new()
        .wrap(sessions)
        .route(PAYMENTS, post().to(fast).wrap(protect.clone()))
        .route(SLOW, post().to(slow).wrap(protect))
        .route(LOGIN, post().to(login))
        .route(RUNS, get().to(async || slow_runs()))
}

async fn fast(payment: Json<NewPayment>) -> HttpResponse {
    HttpResponse::Created().json(pay(payment.into_inner()))
}

async fn slow(payment: Json<NewPayment>) -> HttpResponse {
    HttpResponse::Created().json(pay_slowly(payment.into_inner()).await)
}
