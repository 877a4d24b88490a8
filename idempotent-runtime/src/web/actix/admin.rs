//! The operator's routes in actix-web.

use std::sync::Arc;

use actix_web::{
    FromRequest, HttpRequest, HttpResponse, Scope,
    body::BoxBody,
    http::{
        StatusCode,
        header::{HeaderName, HeaderValue},
    },
    web,
};
use bytes::Bytes;

use crate::{
    operator::admin::{Admin, Answered},
    runtime::Idempotency,
    web::{Head, RequestHead},
};

/// Routes for operators, under this path: look a record up, forget it, complete it by hand, list
/// claims. Each request is let in by `authenticate`, or answered 401.
///
/// ```
/// use actix_web::{App, web::ServiceConfig};
/// use idempotent_runtime::{Idempotency, actix::admin_scope, admin};
///
/// fn operators(config: &mut ServiceConfig, idempotency: &Idempotency, token: &str) {
///     config.service(admin_scope(
///         "/admin/idempotency",
///         idempotency.clone(),
///         admin::bearer_token(token),
///     ));
/// }
/// ```
///
/// | request | what it does |
/// |---|---|
/// | `POST look-up` `{"operation": "POST /payments", "scope": {"name": "user", "value": "alice"}, "key": "order-1"}` | looks up by what the client sends: in a body, so that keys do not stand in access logs. The scope of an expression is `{"value": …}`, that of all callers `"global"` |
/// | `GET records/{id}` | looks up by the id that `look-up` or a listing gave |
/// | `DELETE records/{id}` | forgets a lost claim; `?even=done`: a record, too, whose effect a retry then has once more; `?even=running`: a claim that runs, too, beside which a second run may begin, or what cannot be read |
/// | `POST records/{id}/complete` `{"status": 201, "headers": [["location", "/payments/7"]], "json": {"id": 7}}` | records the outcome of a lost run, with `json` or a text as `body`; of a function, with what it returned: `{"value": 7}` |
/// | `GET lost?limit=100&after=…` | lists lost claims |
/// | `GET running?longer_than=60&limit=100&after=…` | lists claims that were granted so many seconds ago and run |
///
/// Answers are JSON, refusals problem documents (RFC 9457). With `?response=true`, or `"response":
/// true` in `look-up`, the recorded response is shown, and otherwise only its status and sizes.
/// A listing has `claims` and `next`, the `after` of the next page, or `null`. All acts are logged.
///
/// The routes are not protected against a browser that is made to send requests in an operator's
/// name: let `authenticate` look at a header such as `Authorization`, and not at a cookie.
pub fn admin_scope(
    path: &str,
    idempotency: Idempotency,
    authenticate: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static,
) -> Scope {
    let admin = Arc::new(Admin::new(idempotency, authenticate));
    let respond = move |request, payload| respond(Arc::clone(&admin), request, payload);
    web::scope(path).default_service(web::to(respond))
}

async fn respond(admin: Arc<Admin>, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    if let Err(refused) = admin.authenticate(RequestHead(Head::Actix(&request))) {
        return response(refused);
    }
    let body = Bytes::from_request(&request, &mut payload.into_inner()).await;
    let Ok(body) = body else {
        return response(admin.no_body());
    };
    let (method, path) = (request.method(), request.match_info().unprocessed());
    let query = Some(request.query_string());
    let answer = admin.answer(method.as_str(), path, query, &body);
    response(answer.await)
}

fn response(answered: Answered) -> HttpResponse {
    let status = StatusCode::from_u16(answered.status).unwrap_or_default();
    let mut response = HttpResponse::new(status).set_body(BoxBody::new(answered.body));
    for (name, value) in answered.headers {
        let name = HeaderName::from_static(name);
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}
