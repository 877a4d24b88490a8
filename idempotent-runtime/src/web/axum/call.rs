//! What is known of a call when its handler's extractors are through.

use axum::{
    RequestExt,
    body::{Body, HttpBody},
    extract::{FromRequest, FromRequestParts, MatchedPath, OriginalUri, Request},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError};

use super::{layer::Installed, reply::problem};
use crate::{
    core::problem::RenderedProblem,
    execution::Execution,
    target::Target,
    web::{Call, CallHead, CallKind, Head, Keyed, RequestHead, body_too_large, inspect},
};

/// A handler whose last argument takes the body.
impl<S, T, const SCOPE: u64, const KEYED: bool> FromRequest<S> for Call<T, SCOPE, KEYED>
where
    S: Send + Sync,
    T: FromRequest<S>,
{
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        // In a block and in a function, so that this future has no room for what is over when
        // the extractors run.
        let (mut kind, mut request) = {
            let (mut parts, body) = request.into_parts();
            let kind = look::<SCOPE, KEYED>(&mut parts).map_err(problem)?;
            (kind, Request::from_parts(parts, body))
        };
        if let CallKind::Keyed(keyed) = &mut kind {
            request = take_in(keyed, request).await?;
        }
        let args = T::from_request(request, state)
            .await
            .map_err(IntoResponse::into_response)?;
        Ok(call(kind, args))
    }
}

/// Reads a request's body, and gives the request back as it was.
async fn take_in(keyed: &mut Keyed, request: Request) -> Result<Request, Response> {
    let (parts, limited) = request.with_limited_body().into_parts();
    keyed.body = match read(limited).await {
        Ok(body) => body,
        Err(error) if is_over_limit(&error) => return Err(problem(body_too_large(keyed))),
        // The client went away, or sent what is no body.
        Err(error) => return Err((StatusCode::BAD_REQUEST, error.to_string()).into_response()),
    };
    let body = Body::from(keyed.body.clone());
    Ok(Request::from_parts(parts, body))
}

/// A handler none of whose arguments takes the body: it is not read, and not part of the
/// fingerprint.
impl<S, T, const SCOPE: u64, const KEYED: bool> FromRequestParts<S> for Call<T, SCOPE, KEYED>
where
    S: Send + Sync,
    T: FromRequestParts<S>,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let kind = look::<SCOPE, KEYED>(parts).map_err(problem)?;
        let args = T::from_request_parts(parts, state)
            .await
            .map_err(IntoResponse::into_response)?;
        Ok(call(kind, args))
    }
}

/// A body as one run of bytes; trailers are no part of it. One that comes in one piece, as most
/// do, is not copied.
async fn read(mut body: Body) -> Result<Bytes, axum::Error> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while !body.is_end_stream()
        && let Some(frame) = body.frame().await
    {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if first.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

fn look<const SCOPE: u64, const KEYED: bool>(
    parts: &mut Parts,
) -> Result<CallKind, RenderedProblem> {
    let kind = inspect::<SCOPE, KEYED>(
        RequestHead(Head::Axum(parts)),
        parts
            .extensions
            .get::<Installed>()
            .map(|installed| &installed.idempotency),
        || Target::Axum {
            method: parts.method.clone(),
            // A nested router sees a shortened path, and its prefix may have parameters.
            uri: parts
                .extensions
                .get::<OriginalUri>()
                .map_or(&parts.uri, |original| &original.0)
                .clone(),
            pattern: parts.extensions.get::<MatchedPath>().cloned(),
        },
    )?;
    if let CallKind::Keyed(keyed) = &kind
        && let Some(installed) = parts.extensions.get_mut::<Installed>()
    {
        installed.execution = Execution(Some(keyed.state.clone()));
    }
    Ok(kind)
}

fn call<T, const SCOPE: u64, const KEYED: bool>(kind: CallKind, args: T) -> Call<T, SCOPE, KEYED> {
    let head = CallHead {
        kind,
        #[cfg(feature = "actix")]
        actix: None,
    };
    Call { head, args }
}

/// `DefaultBodyLimit`'s error, however deep it is wrapped.
fn is_over_limit(error: &axum::Error) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.is::<LengthLimitError>() {
            return true;
        }
        source = error.source();
    }
    false
}
