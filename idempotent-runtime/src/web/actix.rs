//! Handlers of actix-web.

mod admin;
mod body;

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll},
};

use actix_web::{
    Error, FromRequest, HttpMessage, HttpRequest, HttpResponse, Responder, ResponseError,
    body::{BodySize, BoxBody, MessageBody},
    dev::Payload,
    error::InternalError,
    http::{
        StatusCode,
        header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    },
};
use bytes::{Bytes, BytesMut};
use send_wrapper::SendWrapper;
use tracing::Instrument;

use super::{
    Call, CallHead, CallKind, Head, IDEMPOTENCY_EXPIRES, IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED,
    RequestHead, Sole, Start, begin, body_too_large, inspect, respond::Reply, start,
};
use crate::{
    core::{
        policy::Policy, problem::RenderedProblem, protocol::can_keep, response::StoredResponse,
    },
    engine::{Answer, Begun, Detachable, execute},
    execution::{CommitError, CommitInError, Execution},
    recordable::sealed::{Recordable, Recording},
    runtime::{Detached, Idempotency},
    target::Target,
};

use self::body::{TooLarge, is_over_limit, read};

pub use self::admin::admin_scope;

const KEY: HeaderName = HeaderName::from_static(IDEMPOTENCY_KEY);
const REPLAYED: HeaderName = HeaderName::from_static(IDEMPOTENCY_REPLAYED);
const EXPIRES: HeaderName = HeaderName::from_static(IDEMPOTENCY_EXPIRES);

/// Answers 201 `{"key": "<uuid>"}`: a fresh key, for clients that cannot make one themselves.
///
/// ```
/// # #[cfg(feature = "actix")] {
/// use actix_web::{App, web};
///
/// let app = App::new()
///     .route("/idempotency-keys", web::post().to(idempotent_runtime::actix::issue_key));
/// # }
/// ```
pub async fn issue_key() -> HttpResponse {
    HttpResponse::Created()
        .insert_header((CACHE_CONTROL, "no-store"))
        .content_type("application/json")
        .body(super::issued_key())
}

impl<T, const SCOPE: u64, const KEYED: bool> FromRequest for Call<T, SCOPE, KEYED>
where
    T: FromRequest + 'static,
{
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let mut payload = payload.take();
        Box::pin(async move {
            let mut kind = look::<SCOPE, KEYED>(&request)?;
            let mut too_large = false;
            if let CallKind::Keyed(keyed) = &mut kind {
                payload = match read(&request, payload).await {
                    Ok(body) => {
                        keyed.body = body.clone();
                        Payload::from(body)
                    }
                    Err(error) if is_over_limit(&error) => {
                        too_large = true;
                        Payload::Stream {
                            payload: Box::pin(TooLarge),
                        }
                    }
                    Err(error) => return Err(error),
                };
            }
            let args = T::from_request(&request, &mut payload).await;
            if let CallKind::Keyed(keyed) = &mut kind {
                // Whoever takes the body leaves nothing in its place.
                let is_taken = matches!(payload, Payload::None);
                if is_taken && too_large {
                    return Err(refused(body_too_large(keyed)));
                }
                if !is_taken {
                    // It is not part of what was asked for.
                    keyed.body = Bytes::new();
                }
            }
            let args = args.map_err(Into::into)?;
            let head = CallHead {
                kind,
                actix: Some(SendWrapper::new(request)),
            };
            Ok(Self { head, args })
        })
    }
}

fn look<const SCOPE: u64, const KEYED: bool>(request: &HttpRequest) -> Result<CallKind, Error> {
    let kind = inspect::<SCOPE, KEYED>(
        RequestHead(Head::Actix(request)),
        request.app_data::<Idempotency>(),
        || Target::Actix {
            method: request.method().clone(),
            uri: request.uri().clone(),
            pattern: request.match_pattern(),
        },
    )
    .map_err(refused)?;
    if let CallKind::Keyed(keyed) = &kind {
        let execution = Execution(Some(keyed.state.clone()));
        request.extensions_mut().insert(execution);
    }
    Ok(kind)
}

/// Runs a handler of actix-web.
pub(crate) async fn drive<F>(call: CallHead, policy: &'static Policy, handler: F) -> Reply
where
    F: Future<Output: Responder> + 'static,
{
    let Some(request) = call.actix else {
        let refusal = problem(super::respond::foreign("actix-web", "axum"));
        return Reply::Actix(SendWrapper::new(refusal));
    };
    let request = request.take();
    Reply::Actix(SendWrapper::new(match start(call.kind, policy) {
        Start::Unprotected => unmarked(respond(&request, pin!(handler)).await),
        Start::Refused(refusal) => problem(refusal),
        Start::Keyed(keyed) => {
            let state = keyed.state.clone();
            state.observe(policy);
            let protected = async move {
                let guard = match begin(keyed, policy).await {
                    Begun::Run(guard) => guard,
                    Begun::Unprotected => {
                        return unmarked(respond(&request, pin!(handler)).await);
                    }
                    Begun::Answer(answer) => return finish(Err(answer)),
                };
                let handler = pin!(handler);
                let mut respond = pin!(respond(&request, handler));
                finish(execute(guard, respond.as_mut()).await)
            };
            Detachable::new(protected, state, detach).await
        }
    }))
}

async fn respond(
    request: &HttpRequest,
    handler: Pin<&mut impl Future<Output: Responder>>,
) -> HttpResponse {
    let response = handler.await.respond_to(request);
    response.map_into_boxed_body()
}

fn finish(answer: Result<HttpResponse, Answer>) -> HttpResponse {
    match answer {
        Ok(response) => unmarked(response),
        Err(Answer::Replay(response)) => replay(&response),
        Err(Answer::Refuse(refusal)) => problem(refusal),
    }
}

/// Lets a run go on in this thread. Outside of actix's own threads there is no place to do so,
/// and the run ends without an outcome.
fn detach<F: Future + 'static>(run: Pin<Box<F>>, detached: Detached) {
    // `spawn_local` panics where there is no local set. The run, which is dropped then, reports
    // that it was abandoned.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let run = async move {
            let _detached = detached;
            run.await;
        };
        tokio::task::spawn_local(run.in_current_span());
    }));
}

/// A first response never says that it is a replay, whatever the handler says.
fn unmarked(mut response: HttpResponse) -> HttpResponse {
    response.headers_mut().remove(&REPLAYED);
    response
}

fn replay(stored: &StoredResponse) -> HttpResponse {
    // Only what a hook or an operator has made up is no status.
    let status = StatusCode::from_u16(stored.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::new(status).set_body(BoxBody::new(stored.body()));
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

pub(crate) fn problem(rendered: RenderedProblem) -> HttpResponse {
    let status = StatusCode::from_u16(rendered.status).unwrap_or_default();
    let mut response = HttpResponse::new(status).set_body(BoxBody::new(rendered.body));
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

fn refused(rendered: RenderedProblem) -> Error {
    InternalError::from_response("refused by #[idempotent]", problem(rendered)).into()
}

/// The values of a header that is to be there once.
pub(super) fn sole<'a>(values: impl Iterator<Item = &'a HeaderValue>) -> Sole<'a> {
    Sole::of(values.map(HeaderValue::as_bytes))
}

pub(super) fn key(headers: &HeaderMap) -> Sole<'_> {
    sole(headers.get_all(&KEY))
}

pub(super) fn content_type(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes)
}

pub(super) fn accept(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(ACCEPT).map(HeaderValue::as_bytes)
}

impl Recordable for HttpResponse {
    fn status(&self) -> u16 {
        self.status().as_u16()
    }

    fn set_expires(&mut self, date: Option<&[u8]>) {
        match date.and_then(|date| HeaderValue::from_bytes(date).ok()) {
            Some(date) => drop(self.headers_mut().insert(EXPIRES, date)),
            None => drop(self.headers_mut().remove(&EXPIRES)),
        }
    }

    fn record(
        self,
        max_response: u64,
    ) -> Recording<Self, impl Future<Output = (Self, StoredResponse)>> {
        let at_least = match self.body().size() {
            BodySize::None | BodySize::Stream => 0,
            BodySize::Sized(size) => size,
        };
        let (response, body) = self.into_parts();
        let status = response.status().as_u16();
        if !can_keep(content_type(response.headers()), at_least, max_response) {
            let stored = StoredResponse::tombstone_of(status, || headers(&response));
            return Recording::Done(response.set_body(body), stored);
        }
        match body.try_into_bytes() {
            Ok(whole) => {
                let stored = StoredResponse::of(status, || headers(&response), &whole);
                Recording::Done(response.set_body(BoxBody::new(whole)), stored)
            }
            Err(body) => Recording::Reading(Box::pin(read_response(response, body, max_response))),
        }
    }
}

/// Records a response whose body is not in one piece.
async fn read_response(
    response: HttpResponse<()>,
    mut body: BoxBody,
    max_response: u64,
) -> (HttpResponse, StoredResponse) {
    let mut read = Vec::new();
    let mut length = 0;
    let whole = loop {
        match poll_fn(|context| Pin::new(&mut body).poll_next(context)).await {
            None => break true,
            // A body that fails goes to the first caller as it is, failure included.
            Some(Err(error)) => {
                read.push(Err(error));
                break false;
            }
            Some(Ok(chunk)) => {
                length += chunk.len() as u64;
                read.push(Ok(chunk));
                if length > max_response {
                    break false;
                }
            }
        }
    };
    let status = response.status().as_u16();
    if whole {
        let mut all = BytesMut::with_capacity(usize::try_from(length).unwrap_or_default());
        read.iter()
            .flatten()
            .for_each(|chunk| all.extend_from_slice(chunk));
        let all = all.freeze();
        let stored = StoredResponse::of(status, || headers(&response), &all);
        return (response.set_body(BoxBody::new(all)), stored);
    }
    let stored = StoredResponse::tombstone_of(status, || headers(&response));
    let read = read.into_iter();
    let body = BoxBody::new(Resumed { read, rest: body });
    (response.set_body(body), stored)
}

fn headers(response: &HttpResponse<()>) -> impl Iterator<Item = (&str, &[u8])> {
    let headers = response.headers().iter();
    headers.map(|(name, value)| (name.as_str(), value.as_bytes()))
}

/// A body of which some chunks were read already.
struct Resumed {
    read: std::vec::IntoIter<Result<Bytes, Box<dyn std::error::Error>>>,
    rest: BoxBody,
}

impl MessageBody for Resumed {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        match self.read.next() {
            Some(chunk) => Poll::Ready(Some(chunk)),
            None => Pin::new(&mut self.rest).poll_next(context),
        }
    }
}

impl FromRequest for Execution {
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let execution = request.extensions().get::<Self>().cloned();
        std::future::ready(Ok(execution.unwrap_or(Self(None))))
    }
}

/// 500: the handler has gone on without its record. A fenced run's client is answered with the
/// winner's outcome instead.
impl ResponseError for CommitError {}

/// As [`status`](CommitInError::status) says. Where there is an outcome already, the client is
/// answered with that one instead.
impl ResponseError for CommitInError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl Responder for Reply {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        match self {
            Self::Actix(response) => response.take(),
            #[cfg(feature = "axum")]
            Self::Axum(_) => problem(super::respond::foreign("axum", "actix-web")),
        }
    }
}
