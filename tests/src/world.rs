//! What a test and the handlers it calls share.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use idempotent_runtime::Execution;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{database::Database, wait::soon};

/// The outside world: effects that happen in it, and gates that hold handlers up.
#[derive(Clone)]
pub struct World(Arc<Inner>);

struct Inner {
    effects: AtomicUsize,
    entered: watch::Sender<usize>,
    gates: Mutex<HashMap<String, watch::Sender<bool>>>,
    seen: Mutex<Vec<String>>,
    kept: Mutex<Option<Execution>>,
    database: OnceLock<(Database, String)>,
}

impl Default for World {
    fn default() -> Self {
        Self(Arc::new(Inner {
            effects: AtomicUsize::new(0),
            entered: watch::Sender::new(0),
            gates: Mutex::default(),
            seen: Mutex::default(),
            kept: Mutex::default(),
            database: OnceLock::new(),
        }))
    }
}

impl World {
    /// How many effects have happened.
    #[must_use]
    pub fn effects(&self) -> usize {
        self.0.effects.load(Ordering::SeqCst)
    }

    /// An effect happens. Gives its number.
    pub fn act(&self) -> usize {
        self.0.effects.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Effects in transactions happen in this database, under this name.
    pub(crate) fn use_database(&self, database: Database, who: &str) {
        let first = self.0.database.set((database, who.to_owned()));
        assert!(first.is_ok(), "a world has one database");
    }

    /// Where effects in transactions happen, and whose they are.
    ///
    /// # Panics
    ///
    /// There is no such database.
    #[must_use]
    pub fn database(&self) -> (&Database, &str) {
        let (database, who) = self.0.database.get().expect("a database");
        (database, who)
    }

    /// How many effects have been committed in the database.
    pub async fn committed(&self) -> i64 {
        let (database, who) = self.database();
        database.effects(who).await
    }

    /// How many handlers were entered.
    #[must_use]
    pub fn entries(&self) -> usize {
        *self.0.entered.borrow()
    }

    /// A handler was entered.
    pub fn enter(&self) {
        self.0.entered.send_modify(|entered| *entered += 1);
    }

    /// Waits until so many handlers were entered.
    pub async fn entered(&self, handlers: usize) {
        let mut entered = self.0.entered.subscribe();
        let _ = soon(
            "handlers are entered",
            entered.wait_for(|entered| *entered >= handlers),
        )
        .await
        .unwrap();
    }

    /// Opens a gate, for good.
    pub fn open(&self, gate: &str) {
        self.gate(gate).send_replace(true);
    }

    /// Waits until a gate is open.
    pub async fn pass(&self, gate: &str) {
        let mut gate = self.gate(gate).subscribe();
        let _ = gate.wait_for(|open| *open).await;
    }

    fn gate(&self, name: &str) -> watch::Sender<bool> {
        let mut gates = self.0.gates.lock().unwrap();
        gates.entry(name.to_owned()).or_default().clone()
    }

    /// A handler notes what it saw.
    pub fn note(&self, what: impl Into<String>) {
        self.0.seen.lock().unwrap().push(what.into());
    }

    /// A handler leaves its handle.
    pub fn keep(&self, execution: Execution) {
        *self.0.kept.lock().unwrap() = Some(execution);
    }

    /// The handle that a handler has left.
    ///
    /// # Panics
    ///
    /// No handler has left one.
    #[must_use]
    pub fn kept(&self) -> Execution {
        let kept = self.0.kept.lock().unwrap();
        kept.clone().expect("a handler has left its handle")
    }

    /// What handlers noted.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.0.seen.lock().unwrap().clone()
    }
}

impl fmt::Debug for World {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("World")
            .field("effects", &self.effects())
            .field("entries", &self.entries())
            .finish_non_exhaustive()
    }
}

/// What a request tells its handler to do, in the order of the fields.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools)]
pub struct Plan {
    /// Waits at this gate before anything else.
    pub gate: Option<String>,
    /// Says that nothing has happened, and makes no effect.
    pub release: bool,
    /// Panics.
    pub panics: Option<Panics>,
    /// Has its effect in a transaction of its own; of the other fields only `gate` and
    /// `late_gate` count, which is the one after `commit_in`.
    pub transact: Option<Transact>,
    /// Commits a response of this status and body after the effect.
    pub commit: Option<(u16, String)>,
    /// Leaves its handle where the test finds it, for after the handler.
    pub keep: bool,
    /// Commits another response after that, and answers 500 if that succeeds.
    pub commit_twice: bool,
    /// Says, after the effect and a commit, that nothing has happened.
    pub release_late: bool,
    /// Waits at this gate after the effect and a commit.
    pub late_gate: Option<String>,
    /// Returns what was committed, and not the response that the other fields describe.
    pub return_committed: bool,
    /// The status of the response; 201 unless set.
    pub status: Option<u16>,
    /// Headers of the response.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body of the response; unless set, it tells which effect it was.
    pub body: Option<Vec<u8>>,
    /// Answers with the request's body.
    pub echo: bool,
    /// Sends the body in chunks of a length that is not told before them.
    pub stream: Option<Streaming>,
}

/// When to panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Panics {
    /// Before the effect.
    Before,
    /// After the effect.
    After,
    /// After the effect, a commit and the late gate.
    Last,
}

/// What a handler does with a transaction in which effect and record are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transact {
    /// Commits it and returns the response.
    Commit,
    /// Commits it by its own `commit`, and answers 500.
    CommitItself,
    /// Forgets to commit it, and answers 202.
    Forget,
    /// Commits it, and answers 500.
    ThenFail,
    /// Commits it, and panics.
    ThenPanic,
    /// Commits it by its own `commit`, and does it all again in another one.
    Again,
    /// Rolls it back, and does it all again in another one.
    RollBackAndAgain,
    /// Writes another record in it, and rolls it back.
    TwiceInOne,
    /// Says 503 without committing it.
    Unavailable,
    /// Rolls it back, says that nothing has happened, and answers 500.
    ReleaseItself,
    /// Ignores that a later statement fails, and commits it.
    BreakAndCommit,
    /// Does all of it in a transaction within another one, commits the inner one and forgets the
    /// outer one.
    Nested,
}

/// A body in chunks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Streaming {
    /// How many chunks.
    pub chunks: usize,
    /// How many bytes each has.
    pub size: usize,
    /// Waits at this gate before the chunk of this number, counted from 0.
    pub gate: Option<(usize, String)>,
    /// Fails after the chunks.
    pub fails: bool,
}

impl Plan {
    /// Waits at a gate.
    #[must_use]
    pub fn gate(gate: &str) -> Self {
        Self {
            gate: Some(gate.to_owned()),
            ..Self::default()
        }
    }

    /// Answers with this status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status: Some(status),
            ..Self::default()
        }
    }

    /// Panics.
    #[must_use]
    pub fn panics(when: Panics) -> Self {
        Self {
            panics: Some(when),
            ..Self::default()
        }
    }

    /// Answers with this body.
    #[must_use]
    pub fn body(body: impl AsRef<[u8]>) -> Self {
        Self {
            body: Some(body.as_ref().to_vec()),
            ..Self::default()
        }
    }

    /// Commits a response of this status and body.
    #[must_use]
    pub fn commit(status: u16, body: &str) -> Self {
        Self {
            commit: Some((status, body.to_owned())),
            ..Self::default()
        }
    }

    /// Streams so many chunks of this size.
    #[must_use]
    pub fn stream(chunks: usize, size: usize) -> Self {
        Self {
            stream: Some(Streaming {
                chunks,
                size,
                ..Streaming::default()
            }),
            ..Self::default()
        }
    }

    /// With another header in the response.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }
}
