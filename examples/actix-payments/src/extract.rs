//! What handlers ask of a request.

use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    error::JsonPayloadError,
    http::header::AUTHORIZATION,
    web::{JsonConfig, PayloadConfig},
};
use ledger::{Demo, Refusal};

use crate::error::ApiError;

const MAX_BODY: usize = 2 * 1024 * 1024;

/// Who is calling: `Authorization: Bearer <user>`.
pub(crate) struct User {
    pub(crate) id: String,
}

impl FromRequest for User {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = ledger::caller(header(request, AUTHORIZATION.as_str()));
        ready(id.map(|id| Self { id }).map_err(ApiError::from))
    }
}

/// The `X-Demo-…` headers. Demonstration only.
pub(crate) struct DemoHeaders(pub(crate) Demo);

impl FromRequest for DemoHeaders {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let demo = Demo::from_headers(|name| header(request, name));
        ready(demo.map(Self).map_err(ApiError::from))
    }
}

/// How large a body may be. A protected handler's body is read under this limit, which is 256 KiB
/// unless set, whatever the limit of the extractor that is given it.
pub(crate) fn payload_config() -> PayloadConfig {
    PayloadConfig::new(MAX_BODY)
}

/// What is answered to a body that cannot be read as JSON.
pub(crate) fn json_config() -> JsonConfig {
    JsonConfig::default()
        .limit(MAX_BODY)
        .error_handler(|error, _| {
            let refusal = match error {
                JsonPayloadError::Overflow { .. }
                | JsonPayloadError::OverflowKnownLength { .. } => Refusal::TooLarge,
                JsonPayloadError::ContentType => {
                    Refusal::Malformed("expected `Content-Type: application/json`".to_owned())
                }
                error => Refusal::Malformed(error.to_string()),
            };
            ApiError::from(refusal).into()
        })
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}
