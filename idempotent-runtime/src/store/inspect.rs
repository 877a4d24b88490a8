//! What an operator asks of a store.

use std::{fmt, future::Future, pin::Pin, str::FromStr, time::Duration};

use super::StoreError;
use crate::{
    clock::Timestamp,
    core::{fingerprint::Fingerprint, record::RecordId, response::StoredResponse},
};

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A store that can be looked at, and whose records can be forgotten.
///
/// It is for operators, and costs requests nothing. A call that is dropped before it answers has
/// happened entirely or not at all.
pub trait Inspect: Send + Sync {
    /// What is under the id; `None` when it is absent, which a record is whose ttl has ended, and
    /// a lost claim that may run again. Changes nothing, not even how long anything lives.
    ///
    /// What cannot be read is [`StoreError::Unreadable`].
    fn inspect<'a>(&'a self, id: &'a RecordId) -> Answer<'a, Option<Inspection>>;

    /// Makes the id absent, in **one atomic step** with the check that `forget` allows it; those
    /// who wait for a claim that is forgotten are woken.
    ///
    /// A claim whose owner still runs is not ended by this: its outcome is recorded if nobody has
    /// the id by then, and fenced if somebody has. A claim that cannot be read is
    /// [`StoreError::Unreadable`], and forgotten only with [`Forget::EvenRunning`]; the response of a
    /// record is not read.
    fn forget<'a>(&'a self, id: &'a RecordId, forget: Forget) -> Answer<'a, Forgotten>;

    /// The claims that `listing` asks for, a page of them, in the store's own order. Each is as it
    /// was at some moment of the call; what cannot be read is left out.
    ///
    /// Whoever follows [`Page::next`] to its end meets every claim that was there all the time, at
    /// least once. The work for one page is bounded, whatever the store holds: a page may be
    /// empty, and still have a next one.
    fn list<'a>(&'a self, listing: &'a Listing) -> Answer<'a, Page>;
}

/// What is under an id. Times are the store's own clock's.
///
/// Its `Debug` output shows neither headers nor body.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)] // Built by stores, field by field.
pub struct Inspection {
    /// The id.
    pub id: RecordId,
    /// What was asked for.
    pub fingerprint: Fingerprint,
    /// When the store was asked.
    pub now: Timestamp,
    /// When the claim was granted that is there, or that came to the record; `None` where the
    /// store does not keep it.
    pub claimed_at: Option<Timestamp>,
    /// How often the id was claimed up to this claim, each time in the place of a lost one;
    /// `None` where the store does not count.
    pub attempts: Option<u32>,
    /// What it is.
    pub state: RecordState,
}

/// The states of what is under an id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // As the protocol's.
pub enum RecordState {
    /// A claim that is believed.
    Running {
        /// Until when, if it is not renewed; `None` where no lease is needed.
        lease_ends: Option<Timestamp>,
    },
    /// A claim whose owner was lost, and which must not run again.
    Lost {
        /// Since when.
        since: Timestamp,
        /// When the id is free.
        expires_at: Timestamp,
    },
    /// A record.
    Done {
        /// Since when; `None` where the store does not keep it.
        completed_at: Option<Timestamp>,
        /// When the id is free.
        expires_at: Timestamp,
        /// What came of the claim.
        response: StoredResponse,
    },
}

impl RecordState {
    /// The state's name: `running`, `lost` or `done`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Running { .. } => "running",
            Self::Lost { .. } => "lost",
            Self::Done { .. } => "done",
        }
    }
}

/// What may be forgotten: it says what is believed to be there, because that may have changed since
/// somebody looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_enums)]
pub enum Forget {
    /// A lost claim. If its run has come to its end meanwhile, its record stays.
    Lost,
    /// A record, too: the next request with its key **has the effect once more**.
    EvenDone,
    /// A claim that runs too: from then on **a second run may begin beside the first**. Also what
    /// cannot be read.
    EvenRunning,
}

/// The answer to [`Inspect::forget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Forgotten {
    /// It is not there any more.
    Removed,
    /// Nothing was there.
    Absent,
    /// A claim runs, or is being ended at this moment: nothing was changed.
    Running,
    /// There is a record, which was not to be forgotten: nothing was changed.
    Done,
}

/// Which claims to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)] // Whoever asks says all of it.
pub struct Listing {
    /// Those that are in this state.
    pub which: Which,
    /// Where the page before this one ended.
    pub after: Option<Cursor>,
    /// How many to give, at least one; a store that cannot divide its answer gives a few more.
    pub limit: usize,
}

/// In which state a listed claim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Which {
    /// Lost.
    Lost,
    /// Running, and claimed at least so long ago.
    RunningFor(Duration),
}

/// A part of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)] // Built by stores.
pub struct Page {
    /// The claims.
    pub claims: Vec<Inspection>,
    /// Where the next page begins; `None` when this was the last.
    pub next: Option<Cursor>,
}

/// A place in a store's order. Written as text, it can be handed to whoever asks for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // Stores make them.
pub enum Cursor {
    /// Behind this id, in a store that has its ids in order.
    Id(RecordId),
    /// A place of the store's own: which of its parts, and where in it.
    Place(u16, u64),
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(formatter),
            Self::Place(part, place) => write!(formatter, "{part}.{place}"),
        }
    }
}

/// Reads what `Display` wrote.
impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let place = |(part, place): (&str, &str)| {
            Some(Self::Place(part.parse().ok()?, place.parse().ok()?))
        };
        match text.split_once('.') {
            Some(parts) => place(parts),
            None => text.parse().ok().map(Self::Id),
        }
        .ok_or(CursorError)
    }
}

/// A text that is no [`Cursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CursorError;

impl fmt::Display for CursorError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a cursor is what the page before has named as its next, unchanged")
    }
}

impl std::error::Error for CursorError {}

impl Which {
    /// Whether this is one of them.
    #[must_use]
    pub fn has(&self, inspection: &Inspection) -> bool {
        match (self, &inspection.state) {
            (Self::Lost, RecordState::Lost { .. }) => true,
            (Self::RunningFor(least), RecordState::Running { .. }) => inspection
                .claimed_at
                .is_some_and(|claimed| inspection.now.since(claimed) >= *least),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for cursor in [
            Cursor::Id(RecordId::from_bytes([0xa7; 32])),
            Cursor::Place(0, 0),
            Cursor::Place(16383, u64::MAX),
        ] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for wrong in ["", ".", "1.", ".1", "-1.1", "65536.1", "a7"] {
            assert_eq!(wrong.parse::<Cursor>(), Err(CursorError), "{wrong}");
        }
    }
}
