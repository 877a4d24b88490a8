//! Payments: a key is required, and faults can be asked for.

use actix_web::{
    HttpResponse, Responder, get,
    http::header::{LOCATION, SET_COOKIE},
    post,
    web::{Data, Json, Path},
};
use idempotent_runtime::{Execution, idempotent};
use ledger::{Demo, Entry, EntryRefusals, Ledger, NewEntry, ReadRefusals, Receipt};

use crate::{
    error::ApiError,
    extract::{DemoHeaders, User},
};

/// Makes a payment.
///
/// However often a caller sends it with one key, there is one payment.
#[idempotent(ttl = "24h", scope = user.id)]
#[utoipa::path(
    operation_id = "create_payment",
    tag = "payments",
    request_body = NewEntry,
    responses(
        (
            status = 201,
            description = "The payment was made.",
            body = Receipt,
            headers(("Location" = String, description = "Where it can be read.")),
        ),
        EntryRefusals,
    ),
    security(("caller" = [])),
)]
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

/// The caller's payments.
#[utoipa::path(
    operation_id = "list_payments",
    tag = "payments",
    responses((status = 200, description = "Oldest first.", body = Vec<Entry>), ReadRefusals),
    security(("caller" = [])),
)]
#[get("/payments")]
pub(crate) async fn list(ledger: Data<Ledger>, user: User) -> Result<impl Responder, ApiError> {
    Ok(Json(ledger.payments.list(&user.id).await?))
}

/// One of the caller's payments.
#[utoipa::path(
    operation_id = "show_payment",
    tag = "payments",
    params(("id" = String, Path, description = "As the payment says it.")),
    responses((status = 200, description = "The payment.", body = Entry), ReadRefusals),
    security(("caller" = [])),
)]
#[get("/payments/{id}")]
pub(crate) async fn show(
    ledger: Data<Ledger>,
    user: User,
    id: Path<String>,
) -> Result<impl Responder, ApiError> {
    Ok(Json(ledger.payments.find(&user.id, &id).await?))
}
