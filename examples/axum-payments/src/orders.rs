//! Orders: protected when the client sends a key, as before when it does not.

use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, header::LOCATION},
    response::IntoResponse,
};
use idempotent_runtime::idempotent;
use ledger::{Entry, Ledger, NewEntry};

use crate::{
    error::ApiError,
    extract::{self, User},
};

/// `POST /orders`. With a key, there is one order however often it is sent; without one, each
/// request is an order.
#[idempotent(key = "optional", scope = user.id)]
pub(crate) async fn create(
    State(ledger): State<Ledger>,
    user: User,
    extract::Json(new): extract::Json<NewEntry>,
) -> Result<impl IntoResponse, ApiError> {
    new.check()?;
    let order = ledger.orders.enter(&user.id, new).await?;
    let location = [(LOCATION, format!("/orders/{}", order.id))];
    Ok((StatusCode::CREATED, location, Json(order)))
}

/// `GET /orders`: the caller's orders.
pub(crate) async fn list(
    State(ledger): State<Ledger>,
    user: User,
) -> Result<Json<Vec<Entry>>, ApiError> {
    Ok(Json(ledger.orders.list(&user.id).await?))
}

/// `GET /orders/{id}`: one of the caller's orders.
pub(crate) async fn show(
    State(ledger): State<Ledger>,
    user: User,
    Path(id): Path<String>,
) -> Result<Json<Entry>, ApiError> {
    Ok(Json(ledger.orders.find(&user.id, &id).await?))
}
