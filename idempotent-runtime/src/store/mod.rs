//! What a store must do, and the stores that come with this crate.

#[cfg(feature = "store-contract")]
pub mod contract;
#[cfg(feature = "encrypt")]
pub(crate) mod encrypted;
mod inspect;
#[cfg(feature = "memory")]
pub(crate) mod memory;
#[cfg(feature = "near-cache")]
pub(crate) mod near_cache;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "redis")]
pub(crate) mod redis;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
mod transaction;

use std::{error::Error, fmt, future::Future, pin::Pin};

pub use self::{
    inspect::{
        Cursor, CursorError, Forget, Forgotten, Inspect, Inspection, Listing, Page, RecordState,
        Which,
    },
    transaction::{DatabaseTransaction, Transactional},
};
pub use crate::core::protocol::Found;
use crate::core::{record::Claim, response::StoredResponse};

/// Where claims and records are kept.
///
/// # Obligations
///
/// Each verb is **one atomic step**: there is never a check followed by a set. A verb that names
/// a claim changes something only while the claim's [owner](Claim::owner) holds it. Times are
/// compared by the store's own clock. A call that is dropped before it answers has happened
/// entirely or not at all.
///
/// A verb may be called again with the same claim when an answer was lost; the second call finds
/// what the first did and answers as the first would have.
///
/// The suite in [`store::contract`](contract) (feature `store-contract`) checks all of this.
pub trait Store: Send + Sync + 'static {
    /// Asks for the claim, in one round trip on every path. Grants it when the id is absent, its
    /// record's ttl has ended, or its lease has ended and the lost claim said `rerun`, or it said
    /// `refuse` and this one [takes over](Claim::takes_over).
    ///
    /// The room for a record of [`max_response`](Claim::max_response) bytes is part of the
    /// grant: a store that has no such room answers [`StoreError::Full`], and never evicts a
    /// live claim or an unexpired record to make it.
    fn claim(&self, claim: &Claim) -> impl Future<Output = Result<ClaimAnswer, StoreError>> + Send;

    /// Ends the claim with a record that lives for [`ttl`](Claim::ttl) from now.
    ///
    /// An id that is absent (the lease had ended and nobody came) is recorded all the same. With
    /// a claim or a record of another owner in its place nothing changes, and the answer is what
    /// was found.
    fn complete(
        &self,
        claim: &Claim,
        response: &StoredResponse,
    ) -> impl Future<Output = Result<Completion, StoreError>> + Send;

    /// Ends the claim without a record: the id is absent again.
    fn release(&self, claim: &Claim) -> impl Future<Output = Result<Fence, StoreError>> + Send;

    /// Makes the claim believed for another [`lease`](Claim::lease) from now.
    fn renew(&self, claim: &Claim) -> impl Future<Output = Result<Fence, StoreError>> + Send;

    /// Whether claims must be renewed: whether they can outlive this process.
    fn needs_lease(&self) -> bool;

    /// Takes note that the claim's run has ended without an outcome. Called while a run is torn
    /// down, so it must neither block nor panic.
    ///
    /// A store whose claims have a lease leaves the claim to it. A store without acts at once as
    /// [`on_lost`](Claim::on_lost) says.
    fn abandon(&self, claim: &Claim);

    /// The power to wake those who wait for a running claim, if the store has it.
    fn as_notify(&self) -> Option<&dyn Notify> {
        None
    }

    /// The power to write a record in a transaction of the user's own, if the store has it.
    fn as_transactional(&self) -> Option<&dyn Transactional> {
        None
    }

    /// The power to be looked at and acted on by an operator, if the store has it.
    fn as_inspect(&self) -> Option<&dyn Inspect> {
        None
    }

    /// What the store takes of this process's memory, for the gauges of the feature `metrics`.
    /// A store that wraps another one adds its own to the other's answer.
    fn memory_usage(&self) -> MemoryUsage {
        MemoryUsage::default()
    }
}

/// What a store takes of this process's memory; see [`Store::memory_usage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryUsage {
    /// Bytes of claims and records, reserved ones included, where the store keeps them here.
    pub bytes: Option<u64>,
    /// How many claims and records there are, where the store keeps them here.
    pub entries: Option<u64>,
    /// Bytes of copies of records that are kept elsewhere.
    pub near_cache_bytes: Option<u64>,
}

/// A store that tells when a running claim may have ended.
pub trait Notify: Send + Sync {
    /// Resolves when the claim that was running under `claim.id` has ended, at once if none is
    /// running. May resolve too early, never misses an end that came after the answer that named
    /// the claim running. Dropping the future takes back the interest and nothing else.
    fn ended<'a>(&'a self, claim: &'a Claim) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// The answer to [`Store::claim`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum ClaimAnswer {
    /// The claim is granted: the caller must run the handler.
    Claimed,
    /// The id is taken.
    Found(Found),
}

#[cfg(feature = "functions")]
impl ClaimAnswer {
    /// The answer, unless it is one that nobody can read.
    pub(crate) fn readable(self) -> Result<Self, StoreError> {
        match self {
            Self::Found(found) => found_readable(found).map(Self::Found),
            Self::Claimed => Ok(self),
        }
    }
}

#[cfg(feature = "functions")]
impl Completion {
    /// The answer, unless it is one that nobody can read.
    pub(crate) fn readable(self) -> Result<Self, StoreError> {
        match self {
            Self::Fenced(found) => found_readable(found).map(Self::Fenced),
            Self::Stored => Ok(self),
        }
    }
}

#[cfg(feature = "functions")]
fn found_readable(found: Found) -> Result<Found, StoreError> {
    match found {
        Found::Done { response, .. } if response.is_sealed() => Err(StoreError::unreadable(
            "the record is sealed, and this store has no key to open it",
        )),
        found => Ok(found),
    }
}

/// The answer to [`Store::complete`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Completion {
    /// The record is in the store.
    Stored,
    /// The claim had been lost; nothing was changed.
    Fenced(Found),
}

/// The answer to a verb of a claim's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Fence {
    /// The claim was the caller's, and the verb was carried out.
    Passed,
    /// The claim is not the caller's any more; nothing was changed.
    Fenced,
}

/// Why a store could not answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no room for another claim and its record.
    Full,
    /// The store could not be reached, or failed; whether the verb was carried out is unknown.
    Unavailable(Box<dyn Error + Send + Sync>),
    /// What is kept under the id cannot be read: it has another format version, is damaged, or is
    /// sealed under a key that is not there. Nothing was changed, and the handler must not run,
    /// whatever the policy says of a store that is away: it may have run before.
    Unreadable(Box<dyn Error + Send + Sync>),
    /// The store has no such power, or not over what it was given.
    Unsupported,
}

impl StoreError {
    /// A failure of whatever the store stands on.
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }

    /// A record that cannot be read.
    pub fn unreadable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unreadable(source.into())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => formatter.write_str("the store has no room for another record"),
            Self::Unavailable(_) => formatter.write_str("the store could not be asked"),
            Self::Unreadable(_) => formatter.write_str("a record in the store cannot be read"),
            Self::Unsupported => formatter.write_str("the store cannot do this"),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Full | Self::Unsupported => None,
            Self::Unavailable(source) | Self::Unreadable(source) => Some(&**source),
        }
    }
}
