//! The SQLite store: the contract, and what is its own.
#![cfg(all(feature = "sqlite", feature = "store-contract"))]
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

mod earlier;
mod faults;
mod processes;
mod sharing;
mod transactions;

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use idempotent_runtime::{
    Claim, Fingerprint, OwnerToken, RecordId, SqliteStore, Store, StoredResponse,
    store::{
        ClaimAnswer, Completion, Found, StoreError,
        contract::{Harness, check},
    },
};
use sqlx::{
    Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
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

async fn opened(file: &Path) -> SqliteStore {
    let store = SqliteStore::open(file).await.unwrap();
    store.migrate().await.unwrap();
    store
}

/// A connection of the application's own.
async fn raw(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        .create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

/// A claim by an owner that nobody else is.
fn claim_of(id: u64) -> Claim {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let owner = u128::from(NEXT.fetch_add(1, Ordering::Relaxed));
    let owner = OwnerToken::new(owner << 32 | u128::from(std::process::id()));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&id.to_le_bytes());
    Claim::new(
        RecordId::from_bytes(bytes),
        owner,
        Fingerprint::from_bytes([7; 32]),
    )
}

fn with(mut claim: Claim, change: impl FnOnce(&mut Claim)) -> Claim {
    change(&mut claim);
    claim
}

fn response(body: &str) -> StoredResponse {
    StoredResponse::new(201, &[("location", b"/1")], body.as_bytes())
}

/// What is found under the id of a claim, as somebody else sees it. Claims it if it is free.
async fn body_of(store: &SqliteStore, id: u64) -> Option<StoredResponse> {
    match store.claim(&claim_of(id)).await.unwrap() {
        ClaimAnswer::Found(Found::Done { response, .. }) => Some(response),
        _ => None,
    }
}

async fn recorded(store: &SqliteStore, id: u64) {
    let claim = claim_of(id);
    assert_eq!(store.claim(&claim).await.unwrap(), ClaimAnswer::Claimed);
    let stored = store.complete(&claim, &response(&id.to_string())).await;
    assert_eq!(stored.unwrap(), Completion::Stored);
}

/// An error with all that it says of its source.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn unavailable<T>(answer: Result<T, StoreError>) -> String {
    match answer {
        Err(error @ StoreError::Unavailable(_)) => told(&error),
        Err(error) => panic!("not `Unavailable`: {error:?}"),
        Ok(_) => panic!("an answer instead of `Unavailable`"),
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds() {
    check(&Real(Folder::new())).await;
}
