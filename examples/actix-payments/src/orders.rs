//! Orders: protected when the client sends a key, as before when it does not.

use actix_web::{
    HttpResponse, Responder, get,
    http::header::LOCATION,
    post,
    web::{Data, Json, Path},
};
use idempotent_runtime::idempotent;
use ledger::{Ledger, NewEntry};

use crate::{error::ApiError, extract::User};

/// `POST /orders`. With a key, there is one order however often it is sent; without one, each
/// request is an order.
#[idempotent(key = "optional", scope = user.id)]
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

/// `GET /orders`: the caller's orders.
#[get("/orders")]
pub(crate) async fn list(ledger: Data<Ledger>, user: User) -> Result<impl Responder, ApiError> {
    Ok(Json(ledger.orders.list(&user.id).await?))
}

/// `GET /orders/{id}`: one of the caller's orders.
#[get("/orders/{id}")]
pub(crate) async fn show(
    ledger: Data<Ledger>,
    user: User,
    id: Path<String>,
) -> Result<impl Responder, ApiError> {
    Ok(Json(ledger.orders.find(&user.id, &id).await?))
}
