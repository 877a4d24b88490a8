//! Orders: protected when the client sends a key, as before when it does not.

use actix_web::{
    HttpResponse, Responder, get,
    http::header::LOCATION,
    post,
    web::{Data, Json, Path},
};
use idempotent_runtime::idempotent;
use ledger::{Entry, EntryRefusals, Ledger, NewEntry, ReadRefusals};

use crate::{error::ApiError, extract::User};

/// Makes an order.
///
/// With a key, there is one order however often it is sent; without one, each request
/// is an order.
#[idempotent(key = "optional", scope = user.id)]
#[utoipa::path(
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
#[post("/orders")]
pub(crate) async fn create(
    ledger: Data<Ledger>,
    user: User,
    Json(new): Json<NewEntry>,
) -> Result<impl Responder, ApiError> {
    new.check()?;
    let order = ledger.orders.enter(&user.id, new).await?;
    let location = (LOCATION, format!("/orders/{}", order.id));
    Ok(HttpResponse::Created().insert_header(location).json(order))
}

/// The caller's orders.
#[utoipa::path(
    operation_id = "list_orders",
    tag = "orders",
    responses((status = 200, description = "Oldest first.", body = Vec<Entry>), ReadRefusals),
    security(("caller" = [])),
)]
#[get("/orders")]
pub(crate) async fn list(ledger: Data<Ledger>, user: User) -> Result<impl Responder, ApiError> {
    Ok(Json(ledger.orders.list(&user.id).await?))
}

/// One of the caller's orders.
#[utoipa::path(
    operation_id = "show_order",
    tag = "orders",
    params(("id" = String, Path, description = "As the order says it.")),
    responses((status = 200, description = "The order.", body = Entry), ReadRefusals),
    security(("caller" = [])),
)]
#[get("/orders/{id}")]
pub(crate) async fn show(
    ledger: Data<Ledger>,
    user: User,
    id: Path<String>,
) -> Result<impl Responder, ApiError> {
    Ok(Json(ledger.orders.find(&user.id, &id).await?))
}
