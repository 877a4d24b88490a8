//! What handlers ask of a request.

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, header::AUTHORIZATION, request::Parts},
};
use ledger::{Demo, Refusal};
use serde::de::DeserializeOwned;

use crate::error::ApiError;

/// Who is calling: `Authorization: Bearer <user>`.
pub(crate) struct User {
    pub(crate) id: String,
}

impl<S: Send + Sync> FromRequestParts<S> for User {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let id = ledger::caller(header(parts, AUTHORIZATION.as_str()))?;
        Ok(Self { id })
    }
}

/// A body of JSON. Unlike axum's own it answers 400 to whatever it cannot read.
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Refusal::TooLarge.into())
            }
            Err(rejection) => Err(Refusal::Malformed(rejection.body_text()).into()),
        }
    }
}

/// The `X-Demo-…` headers. Demonstration only.
pub(crate) struct DemoHeaders(pub(crate) Demo);

impl<S: Send + Sync> FromRequestParts<S> for DemoHeaders {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let demo = Demo::from_headers(|name| header(parts, name))?;
        Ok(Self(demo))
    }
}

fn header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name)?.to_str().ok()
}
