//! Handlers of axum.

mod admin;
mod record;

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use axum::{
    RequestExt,
    body::{Body, HttpBody},
    extract::{FromRequest, FromRequestParts, MatchedPath, OriginalUri, Request},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE},
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError};

use crate::web::{
    Call, CallHead, CallKind, Head, IDEMPOTENCY_EXPIRES, IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED,
    Keyed, RequestHead, Sole, Start, begin, body_too_large, inspect, respond::Reply, start,
};
use crate::{
    core::{policy::Policy, problem::RenderedProblem, response::StoredResponse},
    engine::{Answer, Begun, Detachable, execute, spawn},
    execution::{CommitError, CommitInError, Execution},
    runtime::Idempotency,
    target::Target,
};

pub use self::admin::admin_router;

const KEY: HeaderName = HeaderName::from_static(IDEMPOTENCY_KEY);
const REPLAYED: HeaderName = HeaderName::from_static(IDEMPOTENCY_REPLAYED);
const EXPIRES: HeaderName = HeaderName::from_static(IDEMPOTENCY_EXPIRES);

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

/// What the layer leaves in a request's extensions: the runtime for the handler's call to find,
/// and a place where the call leaves the handle for the handler to find.
#[derive(Clone)]
struct Installed {
    idempotency: Idempotency,
    execution: Execution,
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

/// Runs a handler of axum.
pub(crate) fn drive<F>(
    call: CallHead,
    policy: &'static Policy,
    handler: F,
) -> Driven<F, impl Future<Output = Reply> + Send>
where
    F: Future<Output: IntoResponse> + Send + 'static,
{
    #[cfg(feature = "actix")]
    if call.actix.is_some() {
        return Driven::ready(Reply::Axum(problem(crate::web::respond::foreign(
            "axum",
            "actix-web",
        ))));
    }
    match start(call.kind, policy) {
        Start::Unprotected => Driven::Unprotected { handler },
        Start::Refused(refusal) => Driven::ready(Reply::Axum(problem(refusal))),
        Start::Keyed(keyed) => {
            let state = keyed.state.clone();
            state.observe(policy);
            let protected = Detachable::new(
                async move {
                    let guard = match begin(keyed, policy).await {
                        Begun::Run(guard) => guard,
                        Begun::Unprotected => {
                            return Reply::Axum(unmarked(handler.await.into_response()));
                        }
                        Begun::Answer(answer) => return Reply::Axum(finish(Err(answer))),
                    };
                    let handler = pin!(handler);
                    let mut respond = pin!(respond(handler));
                    Reply::Axum(finish(execute(guard, respond.as_mut()).await))
                },
                state,
                |run, detached| {
                    spawn(async move {
                        let _detached = detached;
                        run.await;
                    });
                },
            );
            Driven::Protected { protected }
        }
    }
}

async fn respond(handler: Pin<&mut impl Future<Output: IntoResponse>>) -> Response {
    handler.await.into_response()
}

fn finish(answer: Result<Response, Answer>) -> Response {
    match answer {
        Ok(response) => unmarked(response),
        Err(Answer::Replay(response)) => replay(&response),
        Err(Answer::Refuse(refusal)) => problem(refusal),
    }
}

pin_project_lite::pin_project! {
    /// A call on its way to its reply. Not an `async` block, which would hold the handler's
    /// future twice: this one is moved when axum boxes it, on every request.
    #[project = DrivenStage]
    pub(crate) enum Driven<F, P> {
        Unprotected { #[pin] handler: F },
        Protected { protected: Detachable<P> },
        Ready { reply: Option<Box<Reply>> },
    }
}

impl<F, P> Driven<F, P> {
    fn ready(reply: Reply) -> Self {
        let reply = Some(Box::new(reply));
        Self::Ready { reply }
    }
}

impl<F, P> Future for Driven<F, P>
where
    F: Future<Output: IntoResponse>,
    P: Future<Output = Reply>,
{
    type Output = Reply;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Reply> {
        match self.project() {
            DrivenStage::Unprotected { handler } => handler
                .poll(context)
                .map(|response| Reply::Axum(unmarked(response.into_response()))),
            DrivenStage::Protected { protected } => Pin::new(protected).poll(context),
            DrivenStage::Ready { reply } => {
                Poll::Ready(*reply.take().expect("polled until it is ready"))
            }
        }
    }
}

/// A first response never says that it is a replay, whatever the handler says.
fn unmarked(mut response: Response) -> Response {
    let headers = response.headers_mut();
    // To compare a few names costs less than to hash this one.
    if headers.keys().any(|name| name == REPLAYED) {
        headers.remove(&REPLAYED);
    }
    response
}

fn replay(stored: &StoredResponse) -> Response {
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

/// The values of a header that is to be there once.
pub(in crate::web) fn sole(values: axum::http::header::GetAll<'_, HeaderValue>) -> Sole<'_> {
    Sole::of(values.into_iter().map(HeaderValue::as_bytes))
}

pub(in crate::web) fn key(headers: &HeaderMap) -> Sole<'_> {
    sole(headers.get_all(&KEY))
}

pub(in crate::web) fn content_type(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes)
}

pub(in crate::web) fn accept(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(ACCEPT);
    lines.into_iter().map(HeaderValue::as_bytes)
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

impl<S: Send + Sync> FromRequestParts<S> for Execution {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let installed = parts.extensions.get::<Installed>();
        Ok(installed.map_or(Self(None), |installed| installed.execution.clone()))
    }
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
