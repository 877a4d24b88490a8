//! Going on when the request is gone.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::execution::RunState;

/// A protected request, driven where it is. Dropped while its handler runs, it is handed on to
/// finish elsewhere; dropped before, it is over.
///
/// This is how a run goes on after its client went away, without a task for every request.
pub(crate) struct Detachable<F> {
    future: Option<Pin<Box<F>>>,
    state: Arc<RunState>,
    detach: fn(Pin<Box<F>>),
}

impl<F: Future> Detachable<F> {
    pub(crate) fn new(future: F, state: Arc<RunState>, detach: fn(Pin<Box<F>>)) -> Self {
        Self {
            future: Some(Box::pin(future)),
            state,
            detach,
        }
    }
}

impl<F: Future> Future for Detachable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Out of its place while it is polled: a future that panics must not be polled again,
        // here or elsewhere.
        let mut future = self.future.take().expect("polled until it is ready");
        let poll = future.as_mut().poll(context);
        if poll.is_pending() {
            self.future = Some(future);
        }
        poll
    }
}

impl<F> Drop for Detachable<F> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take()
            && self.state.is_claimed()
        {
            (self.detach)(future);
        }
    }
}

/// Hands work to the runtime of the current task, if there still is one.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(future);
    }
}
