//! Handlers of axum.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    RequestExt,
    body::{Body, HttpBody},
    extract::{FromRequest, FromRequestParts, MatchedPath, OriginalUri, Request},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError};

use super::{
    Call, CallHead, CallKind, Head, IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, RequestHead, Sole,
    Target, begin, body_too_large, inspect,
    respond::{Reply, foreign},
    sealed::Recordable,
};
use crate::{
    core::{
        policy::Policy, problem::RenderedProblem, protocol::can_keep, response::StoredResponse,
    },
    engine::{Answer, Begun, Detachable, execute},
    execution::{CommitError, Execution},
    runtime::Idempotency,
};

const KEY: HeaderName = HeaderName::from_static(IDEMPOTENCY_KEY);
const REPLAYED: HeaderName = HeaderName::from_static(IDEMPOTENCY_REPLAYED);

/// Answers 201 `{"key": "<uuid>"}`: a fresh key, for clients that cannot make one themselves.
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use axum::{Router, routing::post};
///
/// let router: Router =
///     Router::new().route("/idempotency-keys", post(idempotent_runtime::axum::issue_key));
/// # }
/// ```
pub async fn issue_key() -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    (StatusCode::CREATED, headers, super::issued_key()).into_response()
}

impl<S> tower_layer::Layer<S> for Idempotency {
    type Service = IdempotencyService<S>;

    fn layer(&self, inner: S) -> IdempotencyService<S> {
        IdempotencyService {
            inner,
            idempotency: self.clone(),
        }
    }
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
        request.extensions_mut().insert(self.idempotency.clone());
        self.inner.call(request)
    }
}

/// A handler whose last argument takes the body.
impl<S, T, const SCOPE: u64, const KEYED: bool> FromRequest<S> for Call<T, SCOPE, KEYED>
where
    S: Send + Sync,
    T: FromRequest<S>,
{
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let (mut parts, mut body) = request.into_parts();
        let mut kind = look::<SCOPE, KEYED>(&mut parts)?;
        if let CallKind::Keyed(keyed) = &mut kind {
            let limited = Request::from_parts(parts, body).with_limited_body();
            let whole;
            (parts, whole) = limited.into_parts();
            keyed.body = match whole.collect().await {
                Ok(collected) => collected.to_bytes(),
                Err(error) if is_over_limit(&error) => return Err(problem(body_too_large(keyed))),
                // The client went away, or sent what is no body.
                Err(error) => {
                    return Err((StatusCode::BAD_REQUEST, error.to_string()).into_response());
                }
            };
            body = Body::from(keyed.body.clone());
        }
        let request = Request::from_parts(parts, body);
        let args = T::from_request(request, state)
            .await
            .map_err(IntoResponse::into_response)?;
        Ok(call(kind, args))
    }
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
        let kind = look::<SCOPE, KEYED>(parts)?;
        let args = T::from_request_parts(parts, state)
            .await
            .map_err(IntoResponse::into_response)?;
        Ok(call(kind, args))
    }
}

fn look<const SCOPE: u64, const KEYED: bool>(parts: &mut Parts) -> Result<CallKind, Response> {
    let kind = inspect::<SCOPE, KEYED>(
        RequestHead(Head::Axum(parts)),
        parts.extensions.get::<Idempotency>(),
        parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes),
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
    )
    .map_err(problem)?;
    if let CallKind::Keyed(keyed) = &kind {
        let execution = Execution(keyed.execution.clone());
        parts.extensions.insert(execution);
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

/// Runs a handler of axum.
pub(crate) async fn drive<F>(call: CallHead, policy: &'static Policy, handler: F) -> Reply
where
    F: Future<Output: IntoResponse> + Send + 'static,
{
    #[cfg(feature = "actix")]
    if call.actix.is_some() {
        return Reply::Axum(problem(foreign("axum", "actix-web")));
    }
    let handler = async { handler.await.into_response() };
    let answer = match begin(call.kind, policy).await {
        Begun::Unprotected => return Reply::Axum(handler.await),
        Begun::Answer(answer) => Err(answer),
        Begun::Run(guard) => {
            Detachable::new(execute(guard, handler), |run| {
                tokio::spawn(run);
            })
            .await
        }
    };
    Reply::Axum(match answer {
        Ok(mut response) => {
            response.headers_mut().remove(&REPLAYED);
            response
        }
        Err(Answer::Replay(response)) => replay(&response),
        Err(Answer::Refuse(refusal)) => problem(refusal),
    })
}

fn replay(stored: &StoredResponse) -> Response {
    let mut response = Response::new(Body::from(stored.body()));
    // What was recorded came from a response, so every part of it is valid.
    if let Ok(status) = StatusCode::from_u16(stored.status()) {
        *response.status_mut() = status;
    }
    let headers = response.headers_mut();
    for (name, value) in stored.headers() {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
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
        // Only a documentation address that is no header value fails, and is left out.
        if let Ok(value) = HeaderValue::from_maybe_shared(value) {
            response
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// The values of a header that is to be there once.
pub(super) fn sole<'a>(values: axum::http::header::GetAll<'a, HeaderValue>) -> Sole<'a> {
    Sole::of(values.into_iter().map(HeaderValue::as_bytes))
}

pub(super) fn key(headers: &HeaderMap) -> Sole<'_> {
    sole(headers.get_all(&KEY))
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

impl Recordable for Response {
    fn status(&self) -> u16 {
        self.status().as_u16()
    }

    async fn record(self, max_response: u64) -> (Self, StoredResponse) {
        let (parts, mut body) = self.into_parts();
        let status = parts.status.as_u16();
        let headers: Vec<(&str, &[u8])> = parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let content_type = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        if !can_keep(content_type, body.size_hint().lower(), max_response) {
            let stored = StoredResponse::tombstone(status, &headers);
            return (Self::from_parts(parts, body), stored);
        }
        let mut read = Vec::new();
        let mut length = 0;
        let whole = loop {
            if body.is_end_stream() {
                break true;
            }
            match body.frame().await {
                None => break true,
                // A body that fails goes to the first caller as it is, failure included.
                Some(Err(error)) => {
                    read.push(Err(error));
                    break false;
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        length += data.len() as u64;
                        read.push(Ok(Frame::data(data)));
                        if length > max_response {
                            break false;
                        }
                    }
                    // Trailers are the last frame, and not recorded.
                    Err(trailers) => read.push(Ok(trailers)),
                },
            }
        };
        let stored = if whole {
            StoredResponse::new(status, &headers, &joined(&read))
        } else {
            StoredResponse::tombstone(status, &headers)
        };
        let mut read = read.into_iter();
        let body = match (read.len(), whole) {
            (0, true) => Body::empty(),
            (1, true) => match read.next().map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => Body::from(data),
                _ => Body::empty(),
            },
            _ => Body::new(Resumed { read, rest: body }),
        };
        (Self::from_parts(parts, body), stored)
    }
}

type ReadFrame = Result<Frame<Bytes>, axum::Error>;

fn joined(read: &[ReadFrame]) -> Bytes {
    let mut data = read
        .iter()
        .filter_map(|frame| frame.as_ref().ok()?.data_ref());
    match (data.next(), data.next()) {
        (None, _) => Bytes::new(),
        (Some(only), None) => only.clone(),
        (Some(first), Some(second)) => {
            let mut all = BytesMut::from(&first[..]);
            all.extend_from_slice(second);
            data.for_each(|more| all.extend_from_slice(more));
            all.freeze()
        }
    }
}

/// A body of which some frames were read already.
struct Resumed {
    read: std::vec::IntoIter<ReadFrame>,
    rest: Body,
}

impl HttpBody for Resumed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ReadFrame>> {
        match self.read.next() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.as_slice().is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read: u64 = self
            .read
            .as_slice()
            .iter()
            .filter_map(|frame| Some(frame.as_ref().ok()?.data_ref()?.len() as u64))
            .sum();
        let rest = self.rest.size_hint();
        let mut whole = SizeHint::new();
        whole.set_lower(read + rest.lower());
        if let Some(upper) = rest.upper() {
            whole.set_upper(read + upper);
        }
        whole
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Execution {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let execution = parts.extensions.get::<Self>().cloned();
        Ok(execution.unwrap_or_else(Self::unprotected))
    }
}

impl IntoResponse for CommitError {
    /// 500: the handler has gone on without its record. A fenced run's client is answered with
    /// the winner's outcome instead.
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        match self {
            Self::Axum(response) => response,
            #[cfg(feature = "actix")]
            Self::Actix(_) => problem(foreign("actix-web", "axum")),
        }
    }
}
