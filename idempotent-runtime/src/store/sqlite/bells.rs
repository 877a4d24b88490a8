//! Those who wait for a claim in this process.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::core::record::RecordId;

#[derive(Default)]
pub(super) struct Bells(Mutex<HashMap<RecordId, Shared>>);

#[derive(Default)]
struct Shared {
    bell: Arc<Notify>,
    listeners: usize,
}

/// Somebody who listens. Dropped, the bell goes with the last of them.
pub(super) struct Listener<'a> {
    bells: &'a Bells,
    id: RecordId,
    pub(super) bell: Arc<Notify>,
}

impl Bells {
    pub(super) fn listen(&self, id: RecordId) -> Listener<'_> {
        let mut bells = self.lock();
        let shared = bells.entry(id).or_default();
        shared.listeners += 1;
        let bell = Arc::clone(&shared.bell);
        Listener {
            bells: self,
            id,
            bell,
        }
    }

    /// Wakes those who listen.
    pub(super) fn ring(&self, id: &RecordId) {
        if let Some(shared) = self.lock().get(id) {
            shared.bell.notify_waiters();
        }
    }

    /// Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<RecordId, Shared>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        if let Entry::Occupied(mut shared) = self.bells.lock().entry(self.id) {
            shared.get_mut().listeners -= 1; // One for each listener that was made.
            if shared.get().listeners == 0 {
                shared.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bells_go_with_their_listeners() {
        let bells = Bells::default();
        let id = RecordId::from_bytes([1; 32]);
        bells.ring(&id);
        let (first, second) = (bells.listen(id), bells.listen(id));
        assert!(Arc::ptr_eq(&first.bell, &second.bell));
        drop(first);
        assert_eq!(bells.lock().len(), 1);
        drop(second);
        assert_eq!(bells.lock().len(), 0);
    }
}
