//! Refusals as responses.

use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header::WWW_AUTHENTICATE},
};
use idempotent_runtime::CommitInError;
use ledger::Refusal;

/// A refusal, as a handler and an extractor return it.
#[derive(Debug)]
pub(crate) struct ApiError(Refusal);

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

/// The transaction was rolled back, so nothing was done: 503 lets the client try again. Should it
/// have been committed after all, or another run have an outcome, the client is answered with that
/// and not with this.
impl From<CommitInError> for ApiError {
    fn from(error: CommitInError) -> Self {
        Self(Refusal::unavailable(error))
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if self.status_code() == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        response.json(self.0.body())
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
