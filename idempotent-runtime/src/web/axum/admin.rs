//! The operator's routes in axum.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderName, HeaderValue, StatusCode},
    response::Response,
    routing::any,
};
use bytes::Bytes;

use crate::{
    operator::admin::{Admin, Answered},
    runtime::Idempotency,
    web::{Head, RequestHead},
};

/// Routes for operators: look a record up, forget it, complete it by hand, list claims. To be
/// nested where the application wants them; each request is let in by `authenticate`, or answered
/// 401.
///
/// ```
/// # fn app(idempotency: idempotent_runtime::Idempotency, token: &str) -> axum::Router {
/// use idempotent_runtime::{admin, axum::admin_router};
///
/// axum::Router::new().nest(
///     "/admin/idempotency",
///     admin_router(idempotency, admin::bearer_token(token)),
/// )
/// # }
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
pub fn admin_router<S: Clone + Send + Sync + 'static>(
    idempotency: Idempotency,
    authenticate: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static,
) -> Router<S> {
    let admin = Arc::new(Admin::new(idempotency, authenticate));
    let respond = move |request: Request| respond(Arc::clone(&admin), request);
    Router::new().route("/{*path}", any(respond))
}

async fn respond(admin: Arc<Admin>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Err(refused) = admin.authenticate(RequestHead(Head::Axum(&parts))) {
        return response(refused);
    }
    let (method, uri) = (parts.method.clone(), parts.uri.clone());
    let body = Bytes::from_request(Request::from_parts(parts, body), &()).await;
    let Ok(body) = body else {
        return response(admin.no_body());
    };
    let answer = admin.answer(method.as_str(), uri.path(), uri.query(), &body);
    response(answer.await)
}

fn response(answered: Answered) -> Response {
    let mut response = Response::new(Body::from(answered.body));
    *response.status_mut() = StatusCode::from_u16(answered.status).unwrap_or_default();
    for (name, value) in answered.headers {
        let name = HeaderName::from_static(name);
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}
