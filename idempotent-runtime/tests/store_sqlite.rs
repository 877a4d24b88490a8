//! The SQLite store: the contract, and what is its own.
#![cfg(all(feature = "sqlite", feature = "store-contract"))]

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use idempotent_runtime::{
    SqliteStore,
    store::contract::{Harness, check},
};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("idempotent-sqlite-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("records.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Real(Folder);

impl Harness for Real {
    type Store = SqliteStore;

    async fn store(&self) -> SqliteStore {
        opened(&self.0.file()).await
    }

    async fn advance(&self, duration: Duration) {
        tokio::time::sleep(duration + Duration::from_millis(2)).await;
    }

    async fn store_with_room_for(&self, _claims: usize) -> Option<SqliteStore> {
        None
    }
}

async fn opened(file: &Path) -> SqliteStore {
    let store = SqliteStore::open(file).await.unwrap();
    store.migrate().await.unwrap();
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds() {
    check(&Real(Folder::new())).await;
}
