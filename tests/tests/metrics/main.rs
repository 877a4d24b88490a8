//! What the runtime tells of itself: metrics and spans.
//!
//! A recorder belongs to the whole process, so the tests that count run one after the other.

#![allow(clippy::unwrap_used)]

mod counted;
mod dashboard;
mod script;
mod spans;

use idempotent_tests::logs;
use tokio::sync::{Mutex, MutexGuard};

/// Waits for the turn to be the only one that is counted.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    logs::keep_what("info");
    TURN.lock().await
}
