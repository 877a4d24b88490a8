//! Logs.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// Logs to stderr, as JSON unless a person is reading along in a terminal.
///
/// `RUST_LOG` says what is logged. If it does not, the outcome of every protected request is
/// logged along with what is noteworthy.
///
/// # Panics
///
/// When called twice.
pub fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,idempotent_runtime=debug"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr);
    if stderr().is_terminal() {
        logs.init();
    } else {
        logs.json().flatten_event(true).init();
    }
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "panic: {}", panic.payload_as_str().unwrap_or("?"));
    }));
}
