//! Where the keys of named operations are kept.
//!
//! # How long a key is kept
//!
//! A named operation's key is in the store from before its first request. Every call that runs the
//! operation is a **run**. A run is entered, durably, before it sends anything, and struck off with
//! what it ended with; one whose process died, or whose future was dropped, counts as ended
//! uncertainly. Then:
//!
//! * [`RunOutcome::Done`] marks the operation as done and keeps the key until it expires. A later
//!   run of the same name sends the same key, and the server gives it the recorded response. So
//!   nobody starts over who was told to ask again, nor a program that was killed after the answer
//!   had come and before it had made a note of it.
//! * [`RunOutcome::Refused`] gives the key up if no other run is out, none was left uncertain, and
//!   none was done. A 401 says nothing about the payment of yesterday's attempt: the server looks
//!   at credentials first.
//! * [`RunOutcome::Uncertain`] keeps the key.
//!
//! [`KeyStore::forget`] starts over: the next run has a new key. That is also the way to have done
//! once more what is done, and to try again what the server has recorded as refused.
//!
//! # Expired keys
//!
//! A server forgets keys too, after 24 hours for instance. A key that is older than the client's
//! `key_ttl` is not sent again: the server might take it for a new one and do the operation a
//! second time. What is done by then is removed from the store, and its name is free again. But if
//! the outcome is uncertain, or some caller that was told to ask again has not done so, the key is
//! not replaced either, which would do the same. The operation fails with
//! [`KeyStoreError::Stale`], its caller finds out what became of it, from the list of payments for
//! instance, and says [`KeyStore::forget`].

mod entry;
mod file;
mod memory;

use std::{
    error::Error,
    fmt, io,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;

pub use self::{entry::Entry, file::FileKeyStore, memory::MemoryKeyStore};
use crate::IdempotencyKey;

/// Keeps the keys of named operations. Each verb is one atomic step, also between processes that
/// share the store; [`Entry`] has what happens in it, so that a store of yours reads an entry,
/// calls one function and writes the entry, in one transaction.
#[async_trait]
pub trait KeyStore: fmt::Debug + Send + Sync + 'static {
    /// Enters a run of the operation, with the key that is there, or with this one if none is. It
    /// must be durable when this returns: the caller sends the request next.
    ///
    /// If this future is dropped, a run that was entered all the same must be
    /// [abandoned](Self::abandon).
    ///
    /// # Errors
    ///
    /// [`KeyStoreError::Stale`] for a key that is older than `ttl` and whose outcome is uncertain;
    /// others when the store cannot be asked. Nothing is sent then.
    async fn begin(
        &self,
        name: &str,
        key: IdempotencyKey,
        ttl: Duration,
    ) -> Result<Run, KeyStoreError>;

    /// Strikes off a run, and gives the key up if its outcome allows that. It must be durable when
    /// this returns.
    ///
    /// # Errors
    ///
    /// When the store cannot be asked. The run is [abandoned](Self::abandon) then, as it is if
    /// this future is dropped, and the key stays.
    async fn end(
        &self,
        name: &str,
        run: &Run,
        outcome: RunOutcome,
    ) -> Result<KeyFate, KeyStoreError>;

    /// Strikes off a run as uncertain, at the latest before the next verb of this process. It does
    /// not block, because it is called where a future is dropped.
    ///
    /// That can be the future of [`end`](Self::end). Then its caller has not learned how the
    /// operation ended and will ask again, so a key that was given up comes back.
    fn abandon(&self, name: &str, run: &Run);

    /// Forgets an operation whose outcome its caller knows; the next run has a new key. Says whether there was something to forget.
    ///
    /// # Errors
    ///
    /// [`KeyStoreError::Running`] while a run is out; others when the store cannot be asked.
    async fn forget(&self, name: &str) -> Result<bool, KeyStoreError>;
}

/// One call that runs a named operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Run {
    /// Tells runs apart.
    pub id: String,
    /// The operation's key.
    pub key: IdempotencyKey,
    /// When the key was made.
    pub created: SystemTime,
}

/// What a run ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// The operation's outcome is known, and the server gives it to all who ask with its key.
    Done,
    /// No attempt of this run did anything.
    Refused,
    /// An attempt of this run may have done it.
    Uncertain,
}

/// What became of a key at the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFate {
    /// The next run has a new key.
    GivenUp,
    /// The next run has the same key.
    Kept,
}

/// Why a key store could not do its part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyStoreError {
    /// The operation's last outcome is uncertain, and its key too old for the server to know it.
    #[error(
        "the outcome of operation {name:?} is uncertain, and its key {}: the server may have \
         forgotten it. Find out whether it was done, then `forget` the operation",
        old(*age)
    )]
    Stale {
        /// The operation's name.
        name: String,
        /// How old the key is; `None` if the clock says that it was made in the future.
        age: Option<Duration>,
    },
    /// The operation is running, so its key cannot be forgotten.
    #[error("operation {name:?} is running; wait for its end before you `forget` it")]
    Running {
        /// The operation's name.
        name: String,
    },
    /// The file does not hold what was written to it.
    #[error(
        "the key store {} is damaged ({reason}). It says which operations may have been done. \
         Restore it from a backup; or find out what became of the operations that were under way, \
         and then remove it",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; never what is in it.
        reason: String,
    },
    /// The file could not be read or written.
    #[error("the key store {} cannot be {verb}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, such as `read`.
        verb: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The store took longer than [`Retry::key_store_timeout`](crate::Retry::key_store_timeout).
    #[error("the key store has not answered within {0:?}")]
    TimedOut(Duration),
    /// A store of yours could not be asked.
    #[error("the key store cannot be asked")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

fn old(age: Option<Duration>) -> String {
    match age {
        Some(age) => format!("is {} minutes old", age.as_secs() / 60),
        None => "is from the future, because the clock was set back".to_owned(),
    }
}
