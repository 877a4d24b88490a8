//! What handlers take, in both frameworks.

use std::{future::Future, pin::Pin};

use actix_web::{HttpMessage, HttpRequest, dev::Payload, web};
use axum::{
    extract::{FromRequest, FromRequestParts},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use idempotent_runtime::Execution;
use serde::{Deserialize, de::DeserializeOwned};

use crate::world::{Plan, World};

/// What every handler takes.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) world: World,
    pub(crate) plan: Plan,
    pub(crate) execution: Execution,
}

/// The caller, as an extractor that refuses those it does not know (401) or does not like (403).
#[derive(Clone, Debug)]
pub(crate) struct User(pub String);

impl User {
    fn of(header: Option<&str>) -> Result<Self, u16> {
        match header {
            None => Err(401),
            Some(user) if user.starts_with("banned") => Err(403),
            Some(user) => Ok(Self(user.to_owned())),
        }
    }
}

/// The framework's own JSON extractor.
#[derive(Debug)]
pub(crate) struct Json<T>(pub T);

/// A body in JSON.
#[derive(Debug, Deserialize)]
pub(crate) struct Payment {
    /// What counts.
    #[serde(default)]
    pub amount: i64,
    /// An identity that the sender gives.
    #[serde(default)]
    pub id: String,
}

/// What a middleware left behind after it verified the caller.
#[derive(Clone, Debug)]
pub(crate) struct Verified(pub String);

fn plan(header: Option<&str>) -> Plan {
    header.map_or_else(Plan::default, |plan| serde_json::from_str(plan).unwrap())
}

impl<S: Send + Sync> FromRequestParts<S> for Context {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let Ok(execution) = Execution::from_request_parts(parts, state).await;
        Ok(Self {
            world: parts.extensions.get::<World>().unwrap().clone(),
            plan: plan(
                parts
                    .headers
                    .get("x-plan")
                    .map(|plan| plan.to_str().unwrap()),
            ),
            execution,
        })
    }
}

impl actix_web::FromRequest for Context {
    type Error = actix_web::Error;
    type Future = std::future::Ready<Result<Self, actix_web::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let execution =
            <Execution as actix_web::FromRequest>::from_request(request, payload).into_inner();
        let Ok(execution) = execution;
        std::future::ready(Ok(Self {
            world: request.app_data::<World>().unwrap().clone(),
            plan: plan(
                request
                    .headers()
                    .get("x-plan")
                    .map(|plan| plan.to_str().unwrap()),
            ),
            execution,
        }))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for User {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let user = parts
            .headers
            .get("x-user")
            .map(|user| user.to_str().unwrap());
        Self::of(user).map_err(|status| {
            let status = StatusCode::from_u16(status).unwrap();
            (status, "refused by the extractor").into_response()
        })
    }
}

impl actix_web::FromRequest for User {
    type Error = actix_web::Error;
    type Future = std::future::Ready<Result<Self, actix_web::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let user = request
            .headers()
            .get("x-user")
            .map(|user| user.to_str().unwrap());
        std::future::ready(Self::of(user).map_err(|status| {
            let status = actix_web::http::StatusCode::from_u16(status).unwrap();
            actix_web::error::InternalError::new("refused by the extractor", status).into()
        }))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = <axum::Json<T> as FromRequest<S>>::Rejection;

    async fn from_request(
        request: axum::extract::Request,
        state: &S,
    ) -> Result<Self, Self::Rejection> {
        let axum::Json(value) = axum::Json::from_request(request, state).await?;
        Ok(Self(value))
    }
}

impl<T: DeserializeOwned + 'static> actix_web::FromRequest for Json<T> {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, actix_web::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let value = web::Json::<T>::from_request(request, payload);
        Box::pin(async move { Ok(Self(value.await?.into_inner())) })
    }
}

/// What a middleware would have verified, taken from a header.
pub(crate) fn verify_axum(request: &mut axum::extract::Request) {
    let verified = request
        .headers()
        .get("x-verified")
        .map(|value| Verified(value.to_str().unwrap().to_owned()));
    if let Some(verified) = verified {
        request.extensions_mut().insert(verified);
    }
}

/// See [`verify_axum`].
pub(crate) fn verify_actix(request: &actix_web::dev::ServiceRequest) {
    let verified = request
        .headers()
        .get("x-verified")
        .map(|value| Verified(value.to_str().unwrap().to_owned()));
    if let Some(verified) = verified {
        request.extensions_mut().insert(verified);
    }
}
