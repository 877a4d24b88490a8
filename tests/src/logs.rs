//! What the runtime writes to the log, and in which span.

use std::{
    future::{Future, poll_fn},
    io::{self, Write},
    pin::pin,
    sync::{Mutex, Once, PoisonError},
};

use tracing_subscriber::{
    EnvFilter,
    fmt::{MakeWriter, format::FmtSpan},
};

use crate::hush;

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Writes down from here on all that the runtime logs, of whatever level, and its spans.
pub fn keep() {
    keep_what("idempotent_runtime=trace,idempotent_tests=info");
}

/// Writes down from here on what is said to be. Of all calls in a process the first one counts.
pub fn keep_what(filter: &str) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter))
            .with_ansi(false)
            .with_span_events(FmtSpan::CLOSE)
            .with_writer(Kept)
            .init();
    });
}

/// Everything that was logged, by all tests of this process.
#[must_use]
pub fn all() -> String {
    let log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&log).into_owned()
}

/// Drives a request in a span of its own, as a middleware does. As with that of `tower-http`, the
/// span is not entered when the request is dropped.
pub(crate) async fn in_span<T>(id: Option<String>, request: impl Future<Output = T>) -> T {
    let span = tracing::info_span!("request", id);
    let mut request = pin!(request);
    poll_fn(|context| span.in_scope(|| request.as_mut().poll(context))).await
}

struct Kept;

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        hush::check_log(bytes);
        let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
