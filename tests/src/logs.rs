//! What the runtime writes to the log.

use std::{
    io::{self, Write},
    sync::{Mutex, Once, PoisonError},
};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Writes down from here on all that the runtime logs, of whatever level.
pub fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new("idempotent_runtime=trace"))
            .with_ansi(false)
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

struct Kept;

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
