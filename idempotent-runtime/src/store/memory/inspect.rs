//! The memory store, looked at by an operator.

use std::{future::Future, pin::Pin};

use tokio::task::yield_now;

use super::{MemoryStore, lock};
use crate::{
    core::record::RecordId,
    store::{Cursor, Forget, Forgotten, Inspect, Inspection, Listing, Page, StoreError},
};

/// How many shards are looked at before other tasks have their turn.
const SHARDS_AT_ONCE: usize = 16;

impl Inspect for MemoryStore {
    fn inspect<'a>(
        &'a self,
        id: &'a RecordId,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Inspection>, StoreError>> + Send + 'a>> {
        Box::pin(async {
            let now = self.0.clock.now();
            Ok(self.0.shard(id).inspect(id, now))
        })
    }

    fn forget<'a>(
        &'a self,
        id: &'a RecordId,
        forget: Forget,
    ) -> Pin<Box<dyn Future<Output = Result<Forgotten, StoreError>> + Send + 'a>> {
        Box::pin(async move {
            let now = self.0.clock.now();
            let mut shard = self.0.shard(id);
            Ok(shard.forget(id, forget, now, &self.0.budget))
        })
    }

    /// Looks at every claim for every page: there are no more than there is memory for.
    fn list<'a>(
        &'a self,
        listing: &'a Listing,
    ) -> Pin<Box<dyn Future<Output = Result<Page, StoreError>> + Send + 'a>> {
        Box::pin(async {
            let after = match listing.after {
                None => None,
                Some(Cursor::Id(id)) => Some(id),
                Some(Cursor::Place(..)) => return Err(StoreError::Unsupported),
            };
            let now = self.0.clock.now();
            let limit = listing.limit.max(1);
            let mut claims = Vec::new();
            for (index, shard) in self.0.shards.iter().enumerate() {
                if index % SHARDS_AT_ONCE == 0 {
                    yield_now().await;
                }
                claims.extend(lock(shard).list(listing.which, after, now));
            }
            claims.sort_unstable_by_key(|claim: &Inspection| claim.id);
            let is_last = claims.len() <= limit;
            claims.truncate(limit);
            let next = claims.last().filter(|_| !is_last).map(|last| last.id);
            Ok(Page {
                claims,
                next: next.map(Cursor::Id),
            })
        })
    }
}
