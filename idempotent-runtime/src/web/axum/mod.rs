//! Handlers of axum.

mod admin;
mod call;
mod layer;
mod record;
mod reply;

use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
};

use axum::{
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};

pub(crate) use self::reply::problem;
use self::reply::{replay, unmarked};
pub use self::{admin::admin_router, layer::IdempotencyService};
use crate::{
    core::policy::Policy,
    engine::{Answer, Begun, Detachable, execute, spawn},
    web::{
        CallHead, IDEMPOTENCY_EXPIRES, IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, Sole, Start, begin,
        respond::Reply, start,
    },
};

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
