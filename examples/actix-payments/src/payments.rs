//! Payments: a key is required, and faults can be asked for.

use actix_web::{
    HttpResponse, Responder, get,
    http::header::{LOCATION, SET_COOKIE},
    post,
    web::{Data, Json, Path},
};
use idempotent_runtime::idempotent;
use ledger::{Ledger, NewEntry};

use crate::{
    error::ApiError,
    extract::{DemoHeaders, User},
};

/// `POST /payments`. However often a caller sends it with one key, there is one payment.
#[idempotent(ttl = "24h", scope = user.id)]
#[post("/payments")]
pub(crate) async fn create(
    ledger: Data<Ledger>,
    user: User,
    DemoHeaders(demo): DemoHeaders,
    Json(new): Json<NewEntry>,
) -> Result<impl Responder, ApiError> {
    new.check()?;
    demo.before_effect().await?;
    let payment = ledger.payments.enter(&user.id, new);
    demo.after_effect()?;
    let mut response = HttpResponse::Created();
    response.insert_header((LOCATION, format!("/payments/{}", payment.id)));
    if let Some(cookie) = demo.cookie() {
        response.insert_header((SET_COOKIE, cookie));
    }
    Ok(response.json(demo.receipt(payment)))
}

/// `GET /payments`: the caller's payments.
#[get("/payments")]
pub(crate) async fn list(ledger: Data<Ledger>, user: User) -> impl Responder {
    Json(ledger.payments.list(&user.id))
}

/// `GET /payments/{id}`: one of the caller's payments.
#[get("/payments/{id}")]
pub(crate) async fn show(
    ledger: Data<Ledger>,
    user: User,
    id: Path<String>,
) -> Result<impl Responder, ApiError> {
    Ok(Json(ledger.payments.find(&user.id, &id)?))
}
