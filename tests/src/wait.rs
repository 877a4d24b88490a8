//! Waiting for what must come, with a limit that only a fault reaches.

use std::{future::Future, time::Duration};

/// How long something that must happen may take, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the future gives.
///
/// # Panics
///
/// When it takes too long, naming what did not happen.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let output = tokio::time::timeout(PATIENCE, future).await;
    output.unwrap_or_else(|_| panic!("this did not happen: {what}"))
}

/// Waits until the condition holds, for conditions that nobody announces.
///
/// # Panics
///
/// When it takes too long, naming what did not happen.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    soon(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}
