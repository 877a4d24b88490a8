//! Before a near cache, and behind one.

use std::time::Duration;

use idempotent_runtime::{
    Encrypted, ManualClock, MemoryStore, NearCache,
    store::contract::{Harness, check},
};

use crate::{Sealed, key};

struct Opened(Sealed);

impl Harness for Opened {
    type Store = NearCache<Encrypted<MemoryStore>>;

    async fn store(&self) -> Self::Store {
        NearCache::with_clock(self.0.store().await, 1 << 20, self.0.0.clone())
    }

    async fn advance(&self, duration: Duration) {
        self.0.advance(duration).await;
    }

    async fn store_with_room_for(&self, claims: usize) -> Option<Self::Store> {
        let store = self.0.store_with_room_for(claims).await?;
        Some(NearCache::with_clock(store, 1 << 20, self.0.0.clone()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract_opened() {
    check(&Opened(Sealed(ManualClock::default()))).await;
}

struct Closed(ManualClock);

impl Harness for Closed {
    type Store = Encrypted<NearCache<MemoryStore>>;

    async fn store(&self) -> Self::Store {
        let memory = MemoryStore::builder().clock(self.0.clone()).build();
        let cached = NearCache::with_clock(memory, 1 << 20, self.0.clone());
        Encrypted::new(cached, key(1))
    }

    async fn advance(&self, duration: Duration) {
        self.0.advance(duration);
    }

    async fn store_with_room_for(&self, claims: usize) -> Option<Self::Store> {
        let memory = MemoryStore::builder().clock(self.0.clone());
        let memory = memory.max_entries(claims).build();
        let cached = NearCache::with_clock(memory, 1 << 20, self.0.clone());
        Some(Encrypted::new(cached, key(1)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract_sealed() {
    check(&Closed(ManualClock::default())).await;
}
