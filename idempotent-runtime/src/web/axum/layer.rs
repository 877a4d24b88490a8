//! The layer that lets handlers find the runtime, and what they find.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use axum::{extract::FromRequestParts, http::request::Parts};

use crate::{execution::Execution, runtime::Idempotency};

impl<S> tower_layer::Layer<S> for Idempotency {
    type Service = IdempotencyService<S>;

    fn layer(&self, inner: S) -> IdempotencyService<S> {
        IdempotencyService {
            inner,
            idempotency: self.clone(),
        }
    }
}

/// What the layer leaves in a request's extensions: the runtime for the handler's call to find,
/// and a place where the call leaves the handle for the handler to find.
#[derive(Clone)]
pub(super) struct Installed {
    pub(super) idempotency: Idempotency,
    pub(super) execution: Execution,
}

/// What [`Idempotency`] is as a layer: it lets the handlers behind it find the runtime, and does
/// nothing else.
#[derive(Clone, Debug)]
pub struct IdempotencyService<S> {
    inner: S,
    idempotency: Idempotency,
}

impl<S, B> tower_service::Service<axum::http::Request<B>> for IdempotencyService<S>
where
    S: tower_service::Service<axum::http::Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: axum::http::Request<B>) -> S::Future {
        request.extensions_mut().insert(Installed {
            idempotency: self.idempotency.clone(),
            execution: Execution(None),
        });
        self.inner.call(request)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Execution {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let installed = parts.extensions.get::<Installed>();
        Ok(installed.map_or(Self(None), |installed| installed.execution.clone()))
    }
}
