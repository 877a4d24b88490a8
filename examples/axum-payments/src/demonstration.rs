//! The page on which payments are broken on purpose, and the handler that it compares with.
//! **Demonstration only**: leave this file out when you copy the example.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header::IF_NONE_MATCH},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use ledger::{Asset, Ledger, NewEntry, PAGE};

use crate::{
    error::ApiError,
    extract::{self, DemoHeaders, User},
    payments::created,
};

pub(crate) fn routes() -> Router<Ledger> {
    let unprotected = Router::new().route("/unprotected/payments", post(create_unprotected));
    PAGE.iter().fold(unprotected, |router, asset| {
        router.route(
            asset.path,
            get(async |headers: HeaderMap| serve(asset, &headers)),
        )
    })
}

/// `POST /unprotected/payments`: what `POST /payments` would be without the attribute.
async fn create_unprotected(
    State(ledger): State<Ledger>,
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
    demo.in_transaction();
    transaction.commit().await?;
    demo.after_effect().await?;
    Ok(created(payment, &demo))
}

fn serve(asset: &Asset, headers: &HeaderMap) -> Response {
    let known = headers.get(IF_NONE_MATCH);
    let response = asset.response(known.and_then(|value| value.to_str().ok()));
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::OK);
    (status, response.headers, response.body).into_response()
}
