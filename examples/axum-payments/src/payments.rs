//! Payments: a key is required, and faults can be asked for.

use axum::{
    Json,
    extract::{Path, State},
    http::{
        StatusCode,
        header::{LOCATION, SET_COOKIE},
    },
    response::IntoResponse,
};
use idempotent_runtime::idempotent;
use ledger::{Entry, Ledger, NewEntry};

use crate::{
    error::ApiError,
    extract::{self, DemoHeaders, User},
};

/// `POST /payments`. However often a caller sends it with one key, there is one payment.
#[idempotent(ttl = "24h", scope = user.id)]
pub(crate) async fn create(
    State(ledger): State<Ledger>,
    user: User,
    DemoHeaders(demo): DemoHeaders,
    extract::Json(new): extract::Json<NewEntry>,
) -> Result<impl IntoResponse, ApiError> {
    new.check()?;
    demo.before_effect().await?;
    let payment = ledger.payments.enter(&user.id, new);
    demo.after_effect()?;
    Ok((
        StatusCode::CREATED,
        [(LOCATION, format!("/payments/{}", payment.id))],
        demo.cookie().map(|cookie| [(SET_COOKIE, cookie)]),
        Json(demo.receipt(payment)),
    ))
}

/// `GET /payments`: the caller's payments.
pub(crate) async fn list(State(ledger): State<Ledger>, user: User) -> Json<Vec<Entry>> {
    Json(ledger.payments.list(&user.id))
}

/// `GET /payments/{id}`: one of the caller's payments.
pub(crate) async fn show(
    State(ledger): State<Ledger>,
    user: User,
    Path(id): Path<String>,
) -> Result<Json<Entry>, ApiError> {
    Ok(Json(ledger.payments.find(&user.id, &id)?))
}
