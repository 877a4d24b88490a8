//! Orders: protected when the client sends a key, as before when it does not.

use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, header::LOCATION},
    response::IntoResponse,
};
use idempotent_runtime::idempotent;
use ledger::{Entry, EntryRefusals, Ledger, NewEntry, ReadRefusals};

use crate::{
    error::ApiError,
    extract::{self, User},
};

/// Makes an order.
///
/// With a key, there is one order however often it is sent; without one, each request
/// is an order.
#[idempotent(key = "optional", scope = user.id)]
#[utoipa::path(
    post,
    path = "/orders",
    operation_id = "create_order",
    tag = "orders",
    request_body = NewEntry,
    responses(
        (
            status = 201,
            description = "The order was made.",
            body = Entry,
            headers(("Location" = String, description = "Where it can be read.")),
        ),
        EntryRefusals,
    ),
    security(("caller" = [])),
)]
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

/// The caller's orders.
#[utoipa::path(
    get,
    path = "/orders",
    operation_id = "list_orders",
    tag = "orders",
    responses((status = 200, description = "Oldest first.", body = Vec<Entry>), ReadRefusals),
    security(("caller" = [])),
)]
pub(crate) async fn list(
    State(ledger): State<Ledger>,
    user: User,
) -> Result<Json<Vec<Entry>>, ApiError> {
    Ok(Json(ledger.orders.list(&user.id).await?))
}

/// One of the caller's orders.
#[utoipa::path(
    get,
    path = "/orders/{id}",
    operation_id = "show_order",
    tag = "orders",
    params(("id" = String, Path, description = "As the order says it.")),
    responses((status = 200, description = "The order.", body = Entry), ReadRefusals),
    security(("caller" = [])),
)]
pub(crate) async fn show(
    State(ledger): State<Ledger>,
    user: User,
    Path(id): Path<String>,
) -> Result<Json<Entry>, ApiError> {
    Ok(Json(ledger.orders.find(&user.id, &id).await?))
}
