//! What everybody in one simulation shares: the database, the time, chance, and what is noted.

use std::{
    collections::BTreeSet,
    fmt::{Arguments, Write as _},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use fastrand::Rng;
use idempotent_runtime::{Clock, Timestamp};
use tokio::time::sleep;

use crate::{
    database::{Database, Payment},
    mode::Mode,
};

/// One simulation's world. Everything in it runs in one thread; the lock is never waited for.
#[derive(Clone)]
pub(crate) struct World(Arc<Mutex<Inner>>);

pub(crate) struct Inner {
    pub(crate) mode: Mode,
    pub(crate) database: Database,
    pub(crate) rng: Rng,
    /// Until when a server stands still.
    pub(crate) stalled: Vec<Duration>,
    /// Until when a server cannot reach the store.
    pub(crate) cut_off: Vec<Duration>,
    /// Payments of runs that were told that their claim was lost.
    pub(crate) fenced: BTreeSet<Payment>,
    /// How many answers named one of these all the same.
    pub(crate) mistaken: u64,
    /// Whether there are no faults any more.
    pub(crate) is_calm: bool,
    now: Duration,
    trace: DefaultHasher,
    /// What happened, if somebody wants to read it.
    history: Option<String>,
}

impl World {
    pub(crate) fn new(mode: Mode, seed: u64, keeps_history: bool) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            mode,
            database: Database::default(),
            rng: Rng::with_seed(seed),
            stalled: vec![Duration::ZERO; mode.servers()],
            cut_off: vec![Duration::ZERO; mode.servers()],
            fenced: BTreeSet::new(),
            mistaken: 0,
            is_calm: false,
            now: Duration::ZERO,
            trace: DefaultHasher::new(),
            history: keeps_history.then(String::new),
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0
            .lock()
            .expect("nothing panics while it holds the world")
    }

    /// A time from the range, in milliseconds.
    pub(crate) fn millis(&self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.lock().rng.u64(range))
    }

    /// Whether something happens that does so many times in a hundred.
    pub(crate) fn chance(&self, percent: u32) -> bool {
        self.lock().rng.u32(..100) < percent
    }

    pub(crate) fn note(&self, event: Arguments<'_>) {
        self.lock().note(event);
    }

    /// Goes on when the server does.
    pub(crate) async fn gate(&self, server: usize) {
        loop {
            let left = {
                let mut inner = self.lock();
                let now = inner.now();
                inner.stalled[server].saturating_sub(now)
            };
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }

    /// What has happened, as a number and, if it was kept, as text.
    pub(crate) fn finish(&self) -> (u64, Option<String>) {
        let mut inner = self.lock();
        (inner.trace.finish(), inner.history.take())
    }
}

impl Inner {
    /// Servers are simulated one after the other, a few milliseconds at a time: of what each
    /// takes for now, the latest counts.
    pub(crate) fn now(&mut self) -> Duration {
        if let Some(elapsed) = turmoil::sim_elapsed() {
            self.now = self.now.max(elapsed);
        }
        self.now
    }

    /// Lets time pass where nothing is simulated.
    #[cfg(test)]
    pub(crate) fn advance(&mut self, duration: Duration) {
        self.now += duration;
    }

    pub(crate) fn timestamp(&mut self) -> Timestamp {
        Timestamp::from_millis(0).after(self.now())
    }

    pub(crate) fn note(&mut self, event: Arguments<'_>) {
        let now = self.now();
        now.hash(&mut self.trace);
        let text = event.to_string();
        text.hash(&mut self.trace);
        if let Some(history) = &mut self.history {
            writeln!(history, "{:8.3} s  {text}", now.as_secs_f64())
                .expect("a text takes what is written");
        }
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        self.lock().timestamp()
    }
}
