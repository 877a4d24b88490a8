//! Handlers of actix-web.

mod admin;
mod body;
mod call;
mod record;
mod reply;

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
};

use actix_web::{
    HttpRequest, HttpResponse, Responder,
    http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use send_wrapper::SendWrapper;
use tracing::Instrument;

pub use self::admin::admin_scope;
pub(crate) use self::reply::problem;
use self::reply::{replay, unmarked};
use crate::{
    core::policy::Policy,
    engine::{Answer, Begun, Detachable, execute},
    runtime::Detached,
    web::{
        CallHead, IDEMPOTENCY_EXPIRES, IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, Sole, Start, begin,
        respond::{self, Reply},
        start,
    },
};

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

/// Runs a handler of actix-web.
pub(crate) async fn drive<F>(call: CallHead, policy: &'static Policy, handler: F) -> Reply
where
    F: Future<Output: Responder> + 'static,
{
    let Some(request) = call.actix else {
        let refusal = problem(respond::foreign("actix-web", "axum"));
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
