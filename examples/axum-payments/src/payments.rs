//! Payments: a key is required, and faults can be asked for.

use axum::{
    Json,
    extract::{Path, State},
    http::{
        StatusCode,
        header::{LOCATION, SET_COOKIE},
    },
    response::{IntoResponse, Response},
};
use idempotent_runtime::{Execution, idempotent};
use ledger::{Demo, Entry, EntryRefusals, Ledger, NewEntry, ReadRefusals, Receipt};

use crate::{
    error::ApiError,
    extract::{self, DemoHeaders, User},
};

/// Makes a payment.
///
/// However often a caller sends it with one key, there is one payment.
#[idempotent(ttl = "24h", scope = user.id)]
#[utoipa::path(
    post,
    path = "/payments",
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
pub(crate) async fn create(
    State(ledger): State<Ledger>,
    execution: Execution,
    user: User,
    DemoHeaders(demo): DemoHeaders,
    extract::Json(new): extract::Json<NewEntry>,
) -> Result<Response, ApiError> {
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

pub(crate) fn created(payment: Entry, demo: &Demo) -> Response {
    let location = [(LOCATION, format!("/payments/{}", payment.id))];
    let cookie = demo.cookie().map(|cookie| [(SET_COOKIE, cookie)]);
    let receipt = Json(demo.receipt(payment));
    (StatusCode::CREATED, location, cookie, receipt).into_response()
}

/// The caller's payments.
#[utoipa::path(
    get,
    path = "/payments",
    operation_id = "list_payments",
    tag = "payments",
    responses((status = 200, description = "Oldest first.", body = Vec<Entry>), ReadRefusals),
    security(("caller" = [])),
)]
pub(crate) async fn list(
    State(ledger): State<Ledger>,
    user: User,
) -> Result<Json<Vec<Entry>>, ApiError> {
    Ok(Json(ledger.payments.list(&user.id).await?))
}

/// One of the caller's payments.
#[utoipa::path(
    get,
    path = "/payments/{id}",
    operation_id = "show_payment",
    tag = "payments",
    params(("id" = String, Path, description = "As the payment says it.")),
    responses((status = 200, description = "The payment.", body = Entry), ReadRefusals),
    security(("caller" = [])),
)]
pub(crate) async fn show(
    State(ledger): State<Ledger>,
    user: User,
    Path(id): Path<String>,
) -> Result<Json<Entry>, ApiError> {
    Ok(Json(ledger.payments.find(&user.id, &id).await?))
}
