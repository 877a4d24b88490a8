//! Which framework a handler belongs to, found from what it returns.
//!
//! The attribute cannot know, and both frameworks may be there at once. Method resolution tries
//! the traits below in the order of the references they are implemented for, and takes the first
//! whose bounds hold for the handler's future.

use std::future::Future;

use super::CallHead;
use crate::core::policy::Policy;
#[cfg(feature = "actix")]
use crate::core::problem::{Problem, ProblemSettings, RenderedProblem};

/// What a protected handler answers.
pub enum Reply {
    #[cfg(feature = "axum")]
    #[doc(hidden)]
    Axum(::axum::response::Response),
    #[cfg(feature = "actix")]
    #[doc(hidden)]
    Actix(send_wrapper::SendWrapper<actix_web::HttpResponse>),
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Reply")
    }
}

/// A handler's future, looked at but not run.
#[derive(Debug)]
pub struct Probe<'a, F>(pub &'a F);

/// The output is a response of both frameworks; where the call came from decides.
pub trait AxumOrActix {
    #[doc(hidden)]
    fn __idempotent_framework(&self) -> OfEither {
        OfEither
    }
}

/// The output is a response of axum.
pub trait Axum {
    #[doc(hidden)]
    fn __idempotent_framework(&self) -> OfAxum {
        OfAxum
    }
}

/// The output is a response of actix-web.
pub trait Actix {
    #[doc(hidden)]
    fn __idempotent_framework(&self) -> OfActix {
        OfActix
    }
}

/// The output is a response of axum, but the future cannot be one of its handlers.
pub trait AxumNotSend {
    #[doc(hidden)]
    fn __idempotent_framework(&self) -> HandlerOfAxumMustBeSend {
        HandlerOfAxumMustBeSend
    }
}

/// The output is no response.
pub trait Neither {
    #[doc(hidden)]
    fn __idempotent_framework(&self) -> OfNeither {
        OfNeither
    }
}

#[cfg(all(feature = "axum", feature = "actix"))]
impl<F> AxumOrActix for &&&&Probe<'_, F> where
    F: Future<Output: ::axum::response::IntoResponse + actix_web::Responder> + Send
{
}

#[cfg(feature = "axum")]
impl<F> Axum for &&&Probe<'_, F> where F: Future<Output: ::axum::response::IntoResponse> + Send {}

#[cfg(feature = "actix")]
impl<F> Actix for &&Probe<'_, F> where F: Future<Output: actix_web::Responder> {}

#[cfg(feature = "axum")]
impl<F> AxumNotSend for &Probe<'_, F> where F: Future<Output: ::axum::response::IntoResponse> {}

impl<F> Neither for Probe<'_, F> {}

/// See [`AxumOrActix`].
#[derive(Clone, Copy, Debug)]
pub struct OfEither;

/// See [`Axum`].
#[derive(Clone, Copy, Debug)]
pub struct OfAxum;

/// See [`Actix`].
#[derive(Clone, Copy, Debug)]
pub struct OfActix;

/// See [`AxumNotSend`]. The compiler's message ends with this name.
#[derive(Clone, Copy, Debug)]
pub struct HandlerOfAxumMustBeSend;

/// See [`Neither`].
#[derive(Clone, Copy, Debug)]
pub struct OfNeither;

#[cfg(all(feature = "axum", feature = "actix"))]
impl OfEither {
    pub async fn drive<F>(self, call: CallHead, policy: &'static Policy, handler: F) -> Reply
    where
        F: Future<Output: ::axum::response::IntoResponse + actix_web::Responder> + Send + 'static,
    {
        if call.actix.is_some() {
            // actix-web polls and drops it in the thread where it was made; axum's side of this
            // future must be `Send`.
            send_wrapper::SendWrapper::new(super::actix::drive(call, policy, handler)).await
        } else {
            super::axum::drive(call, policy, handler).await
        }
    }
}

#[cfg(feature = "axum")]
impl OfAxum {
    #[allow(clippy::unused_self)] // Generated code calls it on whatever probing has found.
    pub fn drive<F>(
        self,
        call: CallHead,
        policy: &'static Policy,
        handler: F,
    ) -> impl Future<Output = Reply> + Send
    where
        F: Future<Output: ::axum::response::IntoResponse> + Send + 'static,
    {
        super::axum::drive(call, policy, handler)
    }
}

#[cfg(feature = "axum")]
impl HandlerOfAxumMustBeSend {
    /// Never compiles: its bound does not hold, and the compiler says for which value.
    pub async fn drive<F>(self, call: CallHead, policy: &'static Policy, handler: F) -> Reply
    where
        F: Future<Output: ::axum::response::IntoResponse> + Send + 'static,
    {
        OfAxum.drive(call, policy, handler).await
    }
}

#[cfg(feature = "actix")]
impl OfActix {
    #[allow(clippy::unused_self)] // Generated code calls it on whatever probing has found.
    pub fn drive<F>(
        self,
        call: CallHead,
        policy: &'static Policy,
        handler: F,
    ) -> impl Future<Output = Reply>
    where
        F: Future<Output: actix_web::Responder> + 'static,
    {
        super::actix::drive(call, policy, handler)
    }
}

impl OfNeither {
    /// Never compiles: its bound says what a handler may return.
    #[allow(clippy::unused_async)]
    pub async fn drive<F>(self, call: CallHead, policy: &'static Policy, handler: F) -> Reply
    where
        F: Future<Output: HandlerResponse>,
    {
        let (_, _, _) = (call, policy, handler);
        unreachable!("nothing implements `HandlerResponse`")
    }
}

/// What a handler may return.
#[diagnostic::on_unimplemented(
    message = "a handler with `#[idempotent]` cannot return `{Self}`",
    label = "neither a response of axum nor of actix-web",
    note = "return something that implements `axum::response::IntoResponse` (feature `axum` of idempotent-runtime) or `actix_web::Responder` (feature `actix`); in a `Result` both types must"
)]
pub trait HandlerResponse {}

/// Refuses a handler of one framework that was mounted in a router of the other.
#[cfg(feature = "actix")]
pub(super) fn foreign(handlers: &str, routers: &str) -> RenderedProblem {
    tracing::error!(
        "a handler with #[idempotent] returns a response of {handlers}, and was mounted in a \
         router of {routers}: return a response of {routers}"
    );
    Problem::Misconfigured.render(&ProblemSettings::default())
}
