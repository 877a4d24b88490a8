//! What callers ask of the store's thread.

use std::collections::HashSet;

use tokio::sync::oneshot;

use super::{
    failure::Failure,
    rules::{self, Change, Row},
    statements::Seen,
};
use crate::{
    core::{
        record::{Claim, RecordId},
        response::StoredResponse,
    },
    store::{
        ClaimAnswer, Completion, Fence, Forget, Forgotten, Inspection, Listing, Page, StoreError,
    },
};

pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What can be answered without writing.
pub(super) enum Question {
    /// Goes on to the writer, unless it finds what cannot be granted.
    Claim(Claim, Answer<ClaimAnswer>),
    /// Whether a claim is running whose lease is not over.
    IsRunning(RecordId, Answer<bool>),
    Inspect(RecordId, Answer<Option<Inspection>>),
    /// Has a look of its own.
    List(Listing, Answer<Page>),
    Ping(Answer<()>),
}

/// What needs the database's write lock.
#[allow(clippy::large_enum_variant)] // Nearly all are verbs, which are not worth a box each.
pub(super) enum Order {
    Verb(Verb),
    Sweep(u64, Answer<u64>),
    Migrate(Answer<()>),
}

/// An order about one id. Many of them share a transaction.
pub(super) enum Verb {
    Claim(Claim, Asked<ClaimAnswer>),
    Complete(Claim, StoredResponse, Asked<Completion>),
    Release(Claim, Asked<Fence>),
    Renew(Claim, Asked<Fence>),
    Forget(RecordId, Forget, Asked<Forgotten>),
}

/// An answer that is kept back until it is true for good.
pub(super) struct Asked<T> {
    answer: Answer<T>,
    decided: Option<Result<T, StoreError>>,
}

impl<T> Asked<T> {
    pub(super) fn new(answer: Answer<T>) -> Self {
        Self {
            answer,
            decided: None,
        }
    }

    fn decide(&mut self, decided: Result<(T, Change), StoreError>) -> Change {
        let (decided, change) = match decided {
            Ok((answer, change)) => (Ok(answer), change),
            Err(error) => (Err(error), Change::Keep),
        };
        self.decided = Some(decided);
        change
    }

    fn settle(self) {
        if let Some(decided) = self.decided {
            // Whoever gave up does not want to know.
            let _ = self.answer.send(decided);
        }
    }

    fn fail(self, error: StoreError) {
        let _ = self.answer.send(Err(error));
    }
}

impl Question {
    /// Whether nobody waits for the answer any more.
    pub(super) fn is_given_up(&self) -> bool {
        match self {
            Self::Claim(_, answer) => answer.is_closed(),
            Self::IsRunning(_, answer) => answer.is_closed(),
            Self::Inspect(_, answer) => answer.is_closed(),
            Self::List(_, answer) => answer.is_closed(),
            Self::Ping(answer) => answer.is_closed(),
        }
    }

    /// The id it is about.
    pub(super) fn id(&self) -> Option<RecordId> {
        match self {
            Self::Claim(claim, _) => Some(claim.id),
            Self::IsRunning(id, _) | Self::Inspect(id, _) => Some(*id),
            Self::List(..) | Self::Ping(_) => None,
        }
    }

    /// Answers by what was seen, or gives what only the writer can answer.
    pub(super) fn answer(self, seen: &Seen) -> Option<Order> {
        match self {
            Self::Claim(claim, answer) => {
                let decided = seen
                    .row(&claim.id)
                    .and_then(|row| rules::claim(row, &claim, seen.now));
                let found = match decided {
                    Ok((found, Change::Keep)) => Ok(found),
                    Ok(_) => return Some(Order::Verb(Verb::Claim(claim, Asked::new(answer)))),
                    Err(error) => Err(error),
                };
                let _ = answer.send(found);
            }
            Self::IsRunning(id, answer) => {
                let is_running = seen
                    .row(&id)
                    .map(|row| row.is_some_and(|row| row.is_running(seen.now)));
                let _ = answer.send(is_running);
            }
            Self::Inspect(id, answer) => {
                let row = seen.row(&id);
                let inspection = row.and_then(|row| match row {
                    Some(row) => row.inspect(&id, seen.now),
                    None => Ok(None),
                });
                let _ = answer.send(inspection);
            }
            Self::List(..) => unreachable!("the reader looks for it by itself"),
            Self::Ping(answer) => {
                let _ = answer.send(Ok(()));
            }
        }
        None
    }

    pub(super) fn fail(self, failure: &Failure) {
        match self {
            Self::Claim(_, answer) => drop(answer.send(Err(failure.refusing()))),
            Self::IsRunning(_, answer) => drop(answer.send(Err(failure.failing()))),
            Self::Inspect(_, answer) => drop(answer.send(Err(failure.failing()))),
            Self::List(_, answer) => drop(answer.send(Err(failure.failing()))),
            Self::Ping(answer) => drop(answer.send(Err(failure.failing()))),
        }
    }
}

impl Order {
    /// Whether there is no use in carrying it out.
    pub(super) fn is_moot(&self) -> bool {
        match self {
            Self::Verb(verb) => verb.is_moot(),
            Self::Sweep(_, answer) => answer.is_closed(),
            Self::Migrate(answer) => answer.is_closed(),
        }
    }
}

impl Verb {
    /// Whether there is no use in carrying it out: nobody would run the handler, or does. The end
    /// of a run is worth writing even if nobody waits for the answer, because the runtime that
    /// asked may be shutting down.
    pub(super) fn is_moot(&self) -> bool {
        matches!(self, Self::Claim(..) | Self::Renew(..) | Self::Forget(..)) && self.is_given_up()
    }

    /// Whether nobody waits for the answer any more.
    pub(super) fn is_given_up(&self) -> bool {
        match self {
            Self::Claim(_, asked) => asked.answer.is_closed(),
            Self::Complete(_, _, asked) => asked.answer.is_closed(),
            Self::Release(_, asked) | Self::Renew(_, asked) => asked.answer.is_closed(),
            Self::Forget(_, _, asked) => asked.answer.is_closed(),
        }
    }

    pub(super) fn is_claim(&self) -> bool {
        matches!(self, Self::Claim(..))
    }

    pub(super) fn id(&self) -> RecordId {
        match self {
            Self::Claim(claim, _)
            | Self::Complete(claim, _, _)
            | Self::Release(claim, _)
            | Self::Renew(claim, _) => claim.id,
            Self::Forget(id, _, _) => *id,
        }
    }

    /// How much it adds to a transaction, in bytes.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Complete(_, response, _) => response.as_bytes().len(),
            Self::Claim(..) | Self::Release(..) | Self::Renew(..) | Self::Forget(..) => 0,
        }
    }

    /// The id, if its claim has ended by this verb.
    pub(super) fn ended(&self) -> Option<RecordId> {
        match self {
            Self::Complete(claim, _, asked) => {
                matches!(asked.decided, Some(Ok(Completion::Stored))).then_some(claim.id)
            }
            Self::Release(claim, asked) => {
                matches!(asked.decided, Some(Ok(Fence::Passed))).then_some(claim.id)
            }
            Self::Forget(id, _, asked) => {
                matches!(asked.decided, Some(Ok(Forgotten::Removed))).then_some(*id)
            }
            Self::Claim(..) | Self::Renew(..) => None,
        }
    }

    /// Decides what the answer will be, and changes the image.
    pub(super) fn decide(&mut self, image: &mut Image) {
        let (id, now) = (self.id(), image.seen.now);
        let row = image.seen.row(&id);
        let change = match self {
            Self::Claim(claim, asked) => {
                asked.decide(row.and_then(|row| rules::claim(row, claim, now)))
            }
            Self::Complete(claim, response, asked) => {
                asked.decide(row.and_then(|row| rules::complete(row, claim, response, now)))
            }
            Self::Release(claim, asked) => {
                asked.decide(row.map(|row| rules::release(row, claim, now)))
            }
            Self::Renew(claim, asked) => asked.decide(row.map(|row| rules::renew(row, claim, now))),
            Self::Forget(_, forget, asked) => asked.decide(match row {
                Err(_) if *forget == Forget::EvenRunning => {
                    Ok((Forgotten::Removed, Change::Remove))
                }
                row => row.map(|row| rules::forget(row, *forget, now)),
            }),
        };
        image.apply(id, change);
    }

    /// Gives the answer, which is true for good now.
    pub(super) fn settle(self) {
        match self {
            Self::Claim(_, asked) => asked.settle(),
            Self::Complete(_, _, asked) => asked.settle(),
            Self::Release(_, asked) | Self::Renew(_, asked) => asked.settle(),
            Self::Forget(_, _, asked) => asked.settle(),
        }
    }

    pub(super) fn fail(self, failure: &Failure) {
        match self {
            // Nothing has happened yet: the caller can be told to come back later.
            Self::Claim(_, asked) => asked.fail(failure.refusing()),
            Self::Complete(_, _, asked) => asked.fail(failure.failing()),
            Self::Release(_, asked) | Self::Renew(_, asked) => asked.fail(failure.failing()),
            Self::Forget(_, _, asked) => asked.fail(failure.failing()),
        }
    }
}

impl Seen {
    pub(super) fn row(&self, id: &RecordId) -> Result<Option<&Row>, StoreError> {
        match self.slots.get(id) {
            None => Ok(None),
            Some(Ok(row)) => Ok(row.as_ref()),
            Some(Err(reason)) => Err(StoreError::unreadable(*reason)),
        }
    }
}

/// The rows that a batch is about, as they will be when it is committed.
pub(super) struct Image {
    seen: Seen,
    changed: HashSet<RecordId>,
}

impl Image {
    pub(super) fn new(seen: Seen) -> Self {
        Self {
            seen,
            changed: HashSet::new(),
        }
    }

    fn apply(&mut self, id: RecordId, change: Change) {
        let row = match change {
            Change::Keep => return,
            Change::Put(row) => Some(row),
            Change::Remove => None,
        };
        self.seen.slots.insert(id, Ok(row));
        self.changed.insert(id);
    }

    /// What must be written, and what removed.
    pub(super) fn changes(&self) -> (Vec<(RecordId, &Row)>, Vec<RecordId>) {
        let (mut put, mut removed) = (Vec::with_capacity(self.changed.len()), Vec::new());
        for id in &self.changed {
            match self.seen.row(id) {
                Ok(Some(row)) => put.push((*id, row)),
                _ => removed.push(*id),
            }
        }
        // In the order of the index, whose pages are each touched once then.
        put.sort_unstable_by_key(|(id, _)| *id);
        (put, removed)
    }
}
