//! Refusals as responses.

use axum::{
    Json,
    http::{StatusCode, header::WWW_AUTHENTICATE},
    response::{IntoResponse, Response},
};
use idempotent_runtime::CommitInError;
use ledger::Refusal;

/// A refusal, as a handler and an extractor return it.
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

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let challenge =
            (status == StatusCode::UNAUTHORIZED).then_some([(WWW_AUTHENTICATE, "Bearer")]);
        (status, challenge, Json(self.0.body())).into_response()
    }
}
