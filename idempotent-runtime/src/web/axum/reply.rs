//! Responses: first ones, replays and refusals.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};

use super::REPLAYED;
use crate::{
    core::{problem::RenderedProblem, response::StoredResponse},
    execution::{CommitError, CommitInError},
    web::respond::Reply,
};

/// A first response never says that it is a replay, whatever the handler says.
pub(super) fn unmarked(mut response: Response) -> Response {
    let headers = response.headers_mut();
    // To compare a few names costs less than to hash this one.
    if headers.keys().any(|name| name == REPLAYED) {
        headers.remove(&REPLAYED);
    }
    response
}

pub(super) fn replay(stored: &StoredResponse) -> Response {
    let mut response = Response::new(Body::from(stored.body()));
    // Only what a hook or an operator has made up is no status.
    let status = StatusCode::from_u16(stored.status());
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
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

pub(crate) fn problem(rendered: RenderedProblem) -> Response {
    let mut response = Response::new(Body::from(rendered.body));
    if let Ok(status) = StatusCode::from_u16(rendered.status) {
        *response.status_mut() = status;
    }
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

impl IntoResponse for CommitError {
    /// 500: the handler has gone on without its record. A fenced run's client is answered with
    /// the winner's outcome instead.
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}

impl IntoResponse for CommitInError {
    /// As [`status`](CommitInError::status) says. Where there is an outcome already, the client
    /// is answered with that one instead.
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, self.to_string()).into_response()
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        match self {
            Self::Axum(response) => response,
            #[cfg(feature = "actix")]
            Self::Actix(_) => problem(crate::web::respond::foreign("actix-web", "axum")),
        }
    }
}
