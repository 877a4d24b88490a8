//! Going on when the request is gone.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tracing::{Instrument, Span, level_filters::LevelFilter};

use crate::{execution::RunState, runtime::Detached};

/// A protected request, driven where it is. Dropped while its handler runs, it is handed on to
/// finish elsewhere; dropped before, it is over.
///
/// This is how a run goes on after its client went away, without a task for every request.
pub(crate) struct Detachable<F> {
    future: Option<Pin<Box<F>>>,
    state: Arc<RunState>,
    /// The span that surrounds the request, where the request has none of its own. Known once it has
    /// waited for something: until then it cannot be detached.
    surrounding: Option<Box<Span>>,
    detach: fn(Pin<Box<F>>, Detached),
}

impl<F: Future> Detachable<F> {
    /// `detach` hands a run to a task of its own, which keeps what else it is given for as long.
    pub(crate) fn new(future: F, state: Arc<RunState>, detach: fn(Pin<Box<F>>, Detached)) -> Self {
        Self {
            future: Some(Box::pin(future)),
            state,
            surrounding: None,
            detach,
        }
    }
}

impl<F: Future> Future for Detachable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let _entered = this.state.span().map(Span::enter);
        // Out of its place while it is polled: a future that panics must not be polled again,
        // here or elsewhere.
        let mut future = this.future.take().expect("polled until it is ready");
        let poll = future.as_mut().poll(context);
        if poll.is_pending() {
            this.future = Some(future);
            if this.surrounding.is_none() && LevelFilter::current() != LevelFilter::OFF {
                this.surrounding = Some(Box::new(Span::current()));
            }
        }
        poll
    }
}

impl<F> Drop for Detachable<F> {
    fn drop(&mut self) {
        let Some(future) = self.future.take() else {
            return;
        };
        // Whoever drops a request need not be in its span any more.
        let _entered = self.surrounding.as_deref().map(Span::enter);
        if self.state.is_claimed() {
            tracing::debug!("the client went away; its handler goes on");
            (self.detach)(future, self.state.runtime.0.detached());
        } else {
            drop(future);
        }
    }
}

/// Hands work to the runtime of the current task, if there still is one, in the current span.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(future.in_current_span());
    }
}
