//! Payments: a key is required, and faults can be asked for.

use actix_web::{
    HttpResponse, Responder, get,
    http::header::{LOCATION, SET_COOKIE},
    post,
    web::{Data, Json, Path},
};
use idempotent_runtime::{Execution, idempotent};
use ledger::{Demo, Entry, Ledger, NewEntry};

use crate::{
    error::ApiError,
    extract::{DemoHeaders, User},
};

/// `POST /payments`. However often a caller sends it with one key, there is one payment.
#[idempotent(ttl = "24h", scope = user.id)]
#[post("/payments")]
pub(crate) async fn create(
    ledger: Data<Ledger>,
    execution: Execution,
    user: User,
    DemoHeaders(demo): DemoHeaders,
    Json(new): Json<NewEntry>,
) -> Result<HttpResponse, ApiError> {
    new.check()?;
    demo.before_effect().await?;
    let mut transaction = ledger.begin().await?;
    let payment = ledger
        .payments
        .enter_in(&mut transaction, &user.id, new)
        .await?;
    let response = created(payment, &demo);
    let response = if ledger.shares_database() {
        // The store's records are in the same database. Payment and response are committed
        // together: whenever this process ends, both are there or neither is.
        let response = execution.commit_in(&mut transaction, response).await?;
        demo.in_transaction();
        response.commit(transaction).await?
    } else {
        // The store is elsewhere. The payment is made now, and the response is recorded when it
        // is returned.
        demo.in_transaction();
        transaction.commit().await?;
        response
    };
    demo.after_effect().await?;
    Ok(response)
}

pub(crate) fn created(payment: Entry, demo: &Demo) -> HttpResponse {
    let mut response = HttpResponse::Created();
    response.insert_header((LOCATION, format!("/payments/{}", payment.id)));
    if let Some(cookie) = demo.cookie() {
        response.insert_header((SET_COOKIE, cookie));
    }
    response.json(demo.receipt(payment))
}

/// `GET /payments`: the caller's payments.
#[get("/payments")]
pub(crate) async fn list(ledger: Data<Ledger>, user: User) -> Result<impl Responder, ApiError> {
    Ok(Json(ledger.payments.list(&user.id).await?))
}

/// `GET /payments/{id}`: one of the caller's payments.
#[get("/payments/{id}")]
pub(crate) async fn show(
    ledger: Data<Ledger>,
    user: User,
    id: Path<String>,
) -> Result<impl Responder, ApiError> {
    Ok(Json(ledger.payments.find(&user.id, &id).await?))
}
