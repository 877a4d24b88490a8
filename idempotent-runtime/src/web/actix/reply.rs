//! Responses: first ones, replays and refusals.

use actix_web::{
    Error, HttpRequest, HttpResponse, Responder, ResponseError,
    body::BoxBody,
    error::InternalError,
    http::{
        StatusCode,
        header::{HeaderName, HeaderValue},
    },
};

use super::REPLAYED;
use crate::{
    core::{problem::RenderedProblem, response::StoredResponse},
    execution::{CommitError, CommitInError},
    web::respond::Reply,
};

/// A first response never says that it is a replay, whatever the handler says.
pub(super) fn unmarked(mut response: HttpResponse) -> HttpResponse {
    response.headers_mut().remove(&REPLAYED);
    response
}

pub(super) fn replay(stored: &StoredResponse) -> HttpResponse {
    // Only what a hook or an operator has made up is no status.
    let status = StatusCode::from_u16(stored.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::new(status).set_body(BoxBody::new(stored.body()));
    let headers = response.headers_mut();
    for (name, value) in stored.raw_headers() {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name),
            HeaderValue::from_maybe_shared(value),
        ) {
            headers.append(name, value);
        }
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

pub(crate) fn problem(rendered: RenderedProblem) -> HttpResponse {
    let status = StatusCode::from_u16(rendered.status).unwrap_or_default();
    let mut response = HttpResponse::new(status).set_body(BoxBody::new(rendered.body));
    for (name, value) in rendered.headers {
        // None fails: what is not made here was a header's value before it was recorded.
        if let Ok(value) = HeaderValue::from_maybe_shared(value) {
            response
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
    }
    response
}

pub(super) fn refused(rendered: RenderedProblem) -> Error {
    InternalError::from_response("refused by #[idempotent]", problem(rendered)).into()
}

/// 500: the handler has gone on without its record. A fenced run's client is answered with the
/// winner's outcome instead.
impl ResponseError for CommitError {}

/// As [`status`](CommitInError::status) says. Where there is an outcome already, the client is
/// answered with that one instead.
impl ResponseError for CommitInError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl Responder for Reply {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        match self {
            Self::Actix(response) => response.take(),
            #[cfg(feature = "axum")]
            Self::Axum(_) => problem(crate::web::respond::foreign("axum", "actix-web")),
        }
    }
}
