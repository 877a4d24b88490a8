//! The page on which payments are broken on purpose, and the handler that it compares with.
//! **Demonstration only**: leave this file out when you copy the example.

use actix_web::{
    HttpRequest, HttpResponse, guard,
    http::{StatusCode, header::IF_NONE_MATCH},
    post,
    web::{self, Data, Json, ServiceConfig},
};
use ledger::{Asset, Ledger, NewEntry, PAGE};

use crate::{
    error::ApiError,
    extract::{DemoHeaders, User},
    payments::created,
};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(create_unprotected);
    for asset in PAGE {
        let get_or_head = web::route()
            .guard(guard::Any(guard::Get()).or(guard::Head()))
            .to(async |request: HttpRequest| serve(asset, &request));
        config.route(asset.path, get_or_head);
    }
}

/// `POST /unprotected/payments`: what `POST /payments` would be without the attribute.
#[post("/unprotected/payments")]
async fn create_unprotected(
    ledger: Data<Ledger>,
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
    demo.in_transaction();
    transaction.commit().await?;
    demo.after_effect().await?;
    Ok(created(payment, &demo))
}

fn serve(asset: &Asset, request: &HttpRequest) -> HttpResponse {
    let known = request.headers().get(IF_NONE_MATCH);
    let response = asset.response(known.and_then(|value| value.to_str().ok()));
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::OK);
    let mut built = HttpResponse::build(status);
    for header in response.headers {
        built.insert_header(header);
    }
    built.body(response.body)
}
