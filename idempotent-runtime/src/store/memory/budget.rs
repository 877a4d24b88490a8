//! How much of the store's room is taken.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::store::StoreError;

/// How much is taken of what there is.
pub(super) struct Budget {
    max_bytes: u64,
    max_entries: usize,
    bytes: AtomicU64,
    entries: AtomicUsize,
}

impl Budget {
    pub(super) fn new(max_bytes: u64, max_entries: usize) -> Self {
        Self {
            max_bytes,
            max_entries,
            bytes: AtomicU64::new(0),
            entries: AtomicUsize::new(0),
        }
    }

    pub(super) fn entries(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// An entry takes another number of bytes than before.
    pub(super) fn change(&self, before: u64, after: u64) {
        if after > before {
            self.bytes.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// Takes room for one entry of so many bytes, if there is.
    pub(super) fn reserve(&self, bytes: u64) -> Result<(), StoreError> {
        let relaxed = Ordering::Relaxed;
        let fits = |taken: u64| {
            taken
                .checked_add(bytes)
                .filter(|sum| *sum <= self.max_bytes)
        };
        let one_more = |taken: usize| (taken < self.max_entries).then_some(taken + 1);
        if self.bytes.fetch_update(relaxed, relaxed, fits).is_err() {
            return Err(StoreError::Full);
        }
        if self
            .entries
            .fetch_update(relaxed, relaxed, one_more)
            .is_err()
        {
            self.bytes.fetch_sub(bytes, relaxed);
            return Err(StoreError::Full);
        }
        Ok(())
    }

    /// Takes room for one entry, whether or not there is.
    pub(super) fn take(&self, bytes: u64) {
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.entries.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
