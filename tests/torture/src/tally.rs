//! What is counted while it happens.

use std::{
    array,
    sync::atomic::{AtomicU64, Ordering},
};

/// Something that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// A request that was sent, or could not be.
    Attempts,
    /// An answer that is marked as a replay.
    Replays,
    /// 409 `in-flight`.
    InFlight,
    /// 503.
    Unavailable,
    /// A connection that was lost, or a time-out.
    Unheard,
    /// A server was killed by SIGKILL.
    Kills,
    /// A server crashed because its handler was asked to.
    Crashes,
    /// A server stood still for longer than the lease.
    Stalls,
    /// All connections of a wire were broken.
    Cuts,
    /// A wire was slow for a while, or let nothing through.
    Delays,
    /// The answers on a wire were swallowed for a while.
    Swallowed,
    /// The store's server was killed and started again.
    Restarts,
    /// The store's server had no memory left for a while.
    Fills,
    /// A server ended, and nobody had asked it to.
    Ended,
}

/// How often each of them happened.
#[derive(Debug)]
pub(crate) struct Tally([AtomicU64; 14]);

impl Tally {
    pub(crate) fn add(&self, count: Count) {
        self.0[count as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn of(&self, count: Count) -> u64 {
        self.0[count as usize].load(Ordering::Relaxed)
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self(array::from_fn(|_| AtomicU64::new(0)))
    }
}
