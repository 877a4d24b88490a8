//! Keys in this process's memory.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;

use super::{Entry, KeyFate, KeyStore, KeyStoreError, Run, RunOutcome};
use crate::IdempotencyKey;

/// Keeps keys in memory, at most until the process ends. That is enough to share a key between tasks and to ask
/// again after an error; a crash forgets it, and an operation that was under way then can be done
/// twice. Cloning gives another handle on the same keys.
#[derive(Clone, Default)]
pub struct MemoryKeyStore {
    entries: Arc<Mutex<HashMap<String, Entry>>>,
}

impl MemoryKeyStore {
    /// A store without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        // Nothing panics half-way through a change.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, name: &str, change: impl FnOnce(&mut Option<Entry>) -> T) -> T {
        let mut entries = self.entries();
        let mut slot = entries.remove(name);
        let result = change(&mut slot);
        if let Some(entry) = slot {
            entries.insert(name.to_owned(), entry);
        }
        result
    }
}

impl fmt::Debug for MemoryKeyStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.entries().len();
        formatter
            .debug_struct("MemoryKeyStore")
            .field("entries", &entries)
            .finish()
    }
}

#[async_trait]
impl KeyStore for MemoryKeyStore {
    async fn begin(
        &self,
        name: &str,
        key: IdempotencyKey,
        ttl: Duration,
    ) -> Result<Run, KeyStoreError> {
        let now = SystemTime::now();
        self.entries().retain(|_, entry| !entry.is_over(now));
        // All runs end with this process, and so does the store.
        self.change(name, |slot| Entry::begin(slot, name, "", key, ttl, now))
    }

    async fn end(
        &self,
        name: &str,
        run: &Run,
        outcome: RunOutcome,
    ) -> Result<KeyFate, KeyStoreError> {
        Ok(self.change(name, |slot| Entry::end(slot, run, outcome)))
    }

    fn abandon(&self, name: &str, run: &Run) {
        self.change(name, |slot| Entry::abandon(slot, run));
    }

    async fn forget(&self, name: &str) -> Result<bool, KeyStoreError> {
        self.change(name, |slot| Entry::forget(slot, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_done_does_not_stay_for_ever() {
        let store = MemoryKeyStore::new();
        for number in 0..10 {
            let name = format!("pay {number}");
            let ttl = Duration::ZERO;
            let run = store.begin(&name, IdempotencyKey::random(), ttl).await;
            let run = run.unwrap();
            store.end(&name, &run, RunOutcome::Done).await.unwrap();
        }
        assert_eq!(store.entries().len(), 1);
    }
}
