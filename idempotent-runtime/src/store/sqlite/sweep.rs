//! Removing what has expired.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{SqliteStore, verb::Order};
use crate::store::StoreError;

/// How many rows one transaction removes. Few enough that no claim waits long.
const STEP: u64 = 500;

impl SqliteStore {
    /// Removes what has expired, at most `limit` claims and records, in one transaction, and
    /// gives their number. Whatever is claimed anew meanwhile stays.
    ///
    /// Nobody needs to call this for correctness; it gives room back. Claims and completions
    /// wait for it: prefer several small ones, or [`sweep_every`](Self::sweep_every).
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]. Dropped before it answers, it happens entirely or not at all.
    pub async fn sweep(&self, limit: u64) -> Result<u64, StoreError> {
        self.order(|answer| Order::Sweep(limit, answer)).await
    }

    /// Removes what has expired at every interval, a few hundred claims and records at a time. A
    /// future to spawn. It logs an error and goes on, and ends when the store's last handle is
    /// dropped.
    pub fn sweep_every(&self, interval: Duration) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::downgrade(&self.0);
        async move {
            loop {
                let Some(store) = shared.upgrade().map(SqliteStore) else {
                    return;
                };
                loop {
                    match store.sweep(STEP).await {
                        Ok(STEP) => {}
                        Ok(_) => break,
                        Err(error) => {
                            tracing::warn!(
                                error = &error as &dyn std::error::Error,
                                "expired records could not be removed and will be tried again",
                            );
                            break;
                        }
                    }
                }
                drop(store);
                sleep(interval).await;
            }
        }
    }
}
