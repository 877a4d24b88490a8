//! The server that is flooded: a process of its own, so that its memory is its own.
//!
//! An effect is a number in the ledger that the body names. The ledger has a fixed size: what grows
//! in this process is the framework's, the store's, or the attribute's.

mod actix;
mod axum;

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
};

use idempotent_runtime::{Idempotency, MemoryStore};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{Failure, options::Framework};

/// The operations of the polite client are below this one, those of floods from it on.
pub(crate) const FLOODS: usize = 100_000;
const OPERATIONS: usize = 300_000;
/// How large the body of a request may be.
pub(crate) const BODY_LIMIT: usize = 64 << 10;
/// How long the body of a response is.
const ANSWER: usize = 1024;

/// What the server is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) framework: Framework,
    /// What the store may take, in bytes.
    pub(crate) budget: u64,
    /// Whether its handlers have the attribute.
    pub(crate) protected: bool,
}

/// What has happened in it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Ledger {
    /// The effects of the polite client's operations.
    pub(crate) polite: u64,
    /// The effects of the floods' operations.
    pub(crate) floods: u64,
    /// Operations that have more than one effect.
    pub(crate) twice: u64,
    /// Handlers that are running.
    pub(crate) running: usize,
    /// What is in the store.
    pub(crate) entries: usize,
    /// What is taken or reserved of the store's budget, in bytes.
    pub(crate) bytes: u64,
}

/// Serves until its standard input ends.
pub(crate) fn serve(settings: Settings) -> Result<(), Failure> {
    let store = MemoryStore::builder().max_bytes(settings.budget).build();
    let idempotency = Idempotency::builder(store.clone())
        .scope("user", |request| {
            request.header("x-user").map(str::to_owned)
        })
        .build();
    let world = World {
        ledger: std::iter::repeat_with(AtomicU8::default)
            .take(OPERATIONS)
            .collect(),
        serial: AtomicU64::new(0),
        gate: watch::Sender::new(false),
        store,
        idempotency,
    };
    // Whoever has started it may have been killed.
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    match settings.framework {
        Framework::Axum => axum::serve(world, settings.protected),
        Framework::Actix => actix::serve(world, settings.protected),
    }
}

struct World {
    ledger: Box<[AtomicU8]>,
    serial: AtomicU64,
    /// What holds handlers until it is opened.
    gate: watch::Sender<bool>,
    store: MemoryStore,
    idempotency: Idempotency,
}

impl World {
    /// The effect, and what is answered: the operation, the number of the effect, and dots.
    fn pay(&self, body: &[u8]) -> (u16, String) {
        let number = std::str::from_utf8(body).ok();
        let number = number.and_then(|body| body.split(' ').next()?.parse::<usize>().ok());
        let Some((number, entry)) =
            number.and_then(|number| Some((number, self.ledger.get(number)?)))
        else {
            return (
                400,
                "the body starts with the number of an operation".to_owned(),
            );
        };
        entry.fetch_add(1, Ordering::Relaxed);
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let mut answer = String::with_capacity(ANSWER);
        let _ = write!(answer, "{number} {serial} ");
        answer.extend(std::iter::repeat_n('.', ANSWER - answer.len()));
        (201, answer)
    }

    /// The same, once the gate is open.
    async fn hold(&self, body: &[u8]) -> (u16, String) {
        let mut gate = self.gate.subscribe();
        let _ = gate.wait_for(|is_open| *is_open).await;
        self.pay(body)
    }

    fn open(&self) {
        self.gate.send_replace(true);
    }

    fn told(&self) -> Ledger {
        let effects = self
            .ledger
            .iter()
            .map(|entry| entry.load(Ordering::Relaxed));
        let sum = |effects: &[AtomicU8]| {
            let effects = effects.iter().map(|entry| entry.load(Ordering::Relaxed));
            effects.map(u64::from).sum()
        };
        let (polite, floods) = self.ledger.split_at(FLOODS);
        Ledger {
            polite: sum(polite),
            floods: sum(floods),
            twice: effects.filter(|effects| *effects > 1).count() as u64,
            running: self.idempotency.running(),
            entries: self.store.entries(),
            bytes: self.store.bytes(),
        }
    }
}
