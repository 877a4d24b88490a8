//! How many runs and requests there are of each kind, counted by what they hold.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use tokio::sync::Notify as Bell;

use super::Inner;

/// What is left over when a store was away for longer than a lease must not grow without bound.
const MAX_RELEASING_LATE: usize = 1024;

#[derive(Default)]
pub(super) struct Counts {
    pub(super) running: AtomicUsize,
    /// How many of them are no handlers, but keys that are still to be freed.
    pub(super) releasing: AtomicUsize,
    pub(super) detached: AtomicUsize,
    pub(super) waiting: AtomicUsize,
    releasing_late: AtomicUsize,
    pub(super) unprotected: AtomicU64,
    /// Rings when nothing is running any more.
    pub(super) idle: Bell,
}

impl Inner {
    /// Something that `drain` waits for, until it is dropped.
    pub(crate) fn running(self: &Arc<Self>) -> Running {
        self.counts.running.fetch_add(1, Ordering::SeqCst);
        Running(Arc::clone(self))
    }

    /// A key that is still to be freed, which `drain` waits for, until this is dropped.
    pub(crate) fn releasing(self: &Arc<Self>) -> Releasing {
        self.counts.releasing.fetch_add(1, Ordering::SeqCst);
        Releasing(self.running())
    }

    /// A place among those who may wait, or `None` when all are taken.
    pub(crate) fn start_waiting(self: &Arc<Self>) -> Option<Waiting> {
        let waiting = Waiting(Arc::clone(self));
        (self.counts.waiting.fetch_add(1, Ordering::Relaxed) < self.settings.max_waiting)
            .then_some(waiting)
    }

    /// A place among those who go on freeing a key after its lease has ended, or `None` when all
    /// are taken.
    pub(crate) fn start_releasing_late(self: &Arc<Self>) -> Option<ReleasingLate> {
        let late = ReleasingLate(Arc::clone(self));
        (self.counts.releasing_late.fetch_add(1, Ordering::Relaxed) < MAX_RELEASING_LATE)
            .then_some(late)
    }

    /// A handler that runs on without its client, until this is dropped.
    pub(crate) fn detached(self: &Arc<Self>) -> Detached {
        self.counts.detached.fetch_add(1, Ordering::Relaxed);
        Detached(Arc::clone(self))
    }
}

/// What `drain` waits for.
pub(crate) struct Running(Arc<Inner>);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.counts.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.counts.idle.notify_waiters();
        }
    }
}

/// A key that is still to be freed, and no handler.
pub(crate) struct Releasing(Running);

impl Drop for Releasing {
    fn drop(&mut self) {
        let Self(Running(inner)) = self;
        inner.counts.releasing.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A handler that runs on without its client.
pub(crate) struct Detached(Arc<Inner>);

impl Drop for Detached {
    fn drop(&mut self) {
        self.0.counts.detached.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place among those who wait, given back on drop.
pub(crate) struct Waiting(Arc<Inner>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.counts.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place among those who go on freeing a key, given back on drop.
pub(crate) struct ReleasingLate(Arc<Inner>);

impl Drop for ReleasingLate {
    fn drop(&mut self) {
        self.0.counts.releasing_late.fetch_sub(1, Ordering::Relaxed);
    }
}
