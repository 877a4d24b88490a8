//! Whole requests, through each framework, to handlers with the attribute on the memory store.
//!
//! The input reads like a request in HTTP/1.1: a line, headers, an empty line, and a body.

mod actix;
mod axum;
mod rules;

pub(crate) use self::{actix::actix, axum::axum};

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use idempotent_runtime::{Idempotency, ManualClock, MemoryStore};

/// The largest body that is taken.
const BODY_LIMIT: usize = 256;
/// The largest body that is kept; the handlers' `max_response`.
const KEPT: usize = 64;
/// Longer than the handlers' `ttl`.
const LONG: Duration = Duration::from_mins(2);

/// What a client sends.
#[derive(Clone, Debug)]
struct Sent<'a> {
    method: &'a [u8],
    target: &'a [u8],
    headers: Vec<(&'a [u8], &'a [u8])>,
    body: Vec<u8>,
}

impl<'a> Sent<'a> {
    /// What is no request for lack of a part has an empty one.
    fn read(data: &'a [u8]) -> Self {
        let mut rest = data;
        let mut line = || {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let line = &rest[..end.unwrap_or(rest.len())];
            rest = &rest[end.map_or(rest.len(), |end| end + 1)..];
            line
        };
        let first = line();
        let space = first.iter().position(|byte| *byte == b' ');
        let (method, target) = first.split_at(space.unwrap_or(first.len()));
        let mut headers = Vec::new();
        loop {
            let header = line();
            if header.is_empty() {
                break;
            }
            let colon = header.iter().position(|byte| *byte == b':');
            let (name, value) = header.split_at(colon.unwrap_or(header.len()));
            let value = value.strip_prefix(b":").unwrap_or(value);
            headers.push((name, value.strip_prefix(b" ").unwrap_or(value)));
        }
        Self {
            method,
            target: target.strip_prefix(b" ").unwrap_or(target),
            headers,
            body: rest.to_vec(),
        }
    }

    /// The values of the headers of this name.
    fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let named = move |(of, _): &&(&[u8], &[u8])| of.eq_ignore_ascii_case(name.as_bytes());
        self.headers.iter().filter(named).map(|(_, value)| *value)
    }
}

/// What a server answers.
#[derive(Clone, PartialEq, Eq)]
struct Answer {
    status: u16,
    is_replay: bool,
    is_problem: bool,
    body: Vec<u8>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.is_replay { " replayed" } else { "" };
        let body = self.body.escape_ascii();
        write!(formatter, "{}{mark} {body}", self.status)
    }
}

/// What the handlers of one server have in common.
#[derive(Clone)]
struct World {
    idempotency: Idempotency,
    store: MemoryStore,
    clock: ManualClock,
    effects: Arc<AtomicUsize>,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::default();
        let store = MemoryStore::builder().clock(clock.clone()).build();
        let idempotency = Idempotency::builder(store.clone())
            .scope("user", |request| {
                request.header("x-user").map(str::to_owned)
            })
            .build();
        Self {
            idempotency,
            store,
            clock,
            effects: Arc::default(),
        }
    }

    /// What every handler does: something that others can run in between, and then its effect.
    async fn effect(&self, sent: &[u8]) -> (u16, Vec<u8>) {
        tokio::task::yield_now().await;
        if sent.starts_with(b"busy") {
            return (503, b"nothing was done".to_vec());
        }
        let number = self.effects.fetch_add(1, Ordering::Relaxed) + 1;
        (201, [number.to_string().as_bytes(), b" ", sent].concat())
    }

    fn effects(&self) -> usize {
        self.effects.load(Ordering::Relaxed)
    }

    /// Everything has expired, so nothing may be left. Gives the store to the next input.
    fn forget(&self) {
        self.clock.advance(LONG);
        self.store.sweep(usize::MAX);
        assert_eq!(self.store.entries(), 0, "an entry is left over");
        assert_eq!(self.store.bytes(), 0, "bytes are left over");
        assert_eq!(self.idempotency.running(), 0, "a handler is left over");
        self.effects.store(0, Ordering::Relaxed);
    }
}
