//! Who in this process waits for which claim, and when to look at it next.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::core::record::RecordId;

/// How often a claim is looked at whose end nobody will tell of.
pub(super) const POLL_PAUSE: Duration = Duration::from_millis(100);
/// How often one is looked at whose end will be told, in case the message is lost with its
/// connection before anybody notices. All ids are looked at together, in one statement.
const RECHECK: Duration = Duration::from_secs(1);

/// The claims that somebody waits for.
#[derive(Default)]
pub(super) struct Watched {
    watches: Mutex<HashMap<RecordId, Watch>>,
    begun: Notify,
}

struct Watch {
    bell: Arc<Bell>,
    waiters: usize,
    due: Instant,
    /// The lease was over when it was last looked at.
    lapsed: bool,
}

#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    notify: Notify,
}

/// What was seen of a claim.
pub(super) enum Seen {
    Ended,
    Running { left: Duration, will_notify: bool },
}

/// Somebody who waits. Dropped, it takes back the interest and nothing else.
pub(super) struct Waiter {
    watched: Arc<Watched>,
    id: RecordId,
    bell: Arc<Bell>,
}

impl Watched {
    /// One more waits, and wants the claim to be looked at now.
    pub(super) fn join(self: &Arc<Self>, id: RecordId) -> Waiter {
        let mut watches = self.lock();
        let watch = watches.entry(id).or_insert_with(|| Watch {
            bell: Arc::default(),
            waiters: 0,
            due: Instant::now(),
            lapsed: false,
        });
        watch.waiters += 1;
        watch.due = Instant::now();
        let bell = Arc::clone(&watch.bell);
        drop(watches);
        self.begun.notify_one();
        Waiter {
            watched: Arc::clone(self),
            id,
            bell,
        }
    }

    /// Resolves when somebody waits.
    pub(super) async fn begun(&self) {
        while self.is_empty() {
            self.begun.notified().await;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// When to look next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.lock().values().map(|watch| watch.due).min()
    }

    /// What to look at now, at most so many.
    pub(super) fn due(&self, limit: usize) -> Vec<RecordId> {
        let now = Instant::now();
        let mut due = Vec::new();
        for (id, watch) in &mut *self.lock() {
            if watch.due <= now && due.len() < limit {
                // Unless the answer says otherwise.
                watch.due = now + POLL_PAUSE;
                due.push(*id);
            }
        }
        due
    }

    /// Nobody tells of ends any more: all are looked at soon.
    pub(super) fn poll_all(&self) {
        let soon = Instant::now() + POLL_PAUSE;
        for watch in self.lock().values_mut() {
            watch.due = watch.due.min(soon);
        }
    }

    /// A claim was looked at. `hearing` when ends that will be notified are heard of.
    pub(super) fn saw(&self, id: &RecordId, seen: &Seen, hearing: bool) {
        let Seen::Running { left, will_notify } = *seen else {
            return self.ring(id);
        };
        let mut watches = self.lock();
        let Some(watch) = watches.get_mut(id) else {
            return;
        };
        if left > Duration::ZERO {
            watch.lapsed = false;
            watch.due = Instant::now()
                + if hearing && will_notify {
                    left.clamp(POLL_PAUSE, RECHECK)
                } else {
                    POLL_PAUSE
                };
        } else if watch.lapsed {
            drop(watches);
            self.ring(id);
        } else {
            // Its end is told a moment late, so that a waiter who asks for the claim, and finds
            // its row locked by an open transaction, does not ask again without pause.
            watch.lapsed = true;
            watch.due = Instant::now() + POLL_PAUSE;
        }
    }

    /// The claim has ended, or may have.
    pub(super) fn ring(&self, id: &RecordId) {
        if let Some(watch) = self.lock().remove(id) {
            watch.bell.rung.store(true, Ordering::Release);
            watch.bell.notify.notify_waiters();
        }
    }

    /// No change of the map can panic half-way.
    fn lock(&self) -> MutexGuard<'_, HashMap<RecordId, Watch>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    pub(super) async fn ended(self) {
        // It hears every ring from here on; one before has left its mark.
        let rung = self.bell.notify.notified();
        if !self.bell.rung.load(Ordering::Acquire) {
            rung.await;
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut watches = self.watched.lock();
        // A watch that was rung is gone, and another may be in its place.
        if let Some(watch) = watches.get_mut(&self.id)
            && Arc::ptr_eq(&watch.bell, &self.bell)
        {
            watch.waiters -= 1;
            if watch.waiters == 0 {
                watches.remove(&self.id);
            }
        }
    }
}
