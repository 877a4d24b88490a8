//! What each verb makes of the row under its id. Time is an argument.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    clock::Timestamp,
    core::{
        fingerprint::Fingerprint,
        policy::OnLost,
        protocol::Found,
        record::{Claim, OwnerToken, RecordId},
        response::StoredResponse,
    },
    store::{
        ClaimAnswer, Completion, Fence, Forget, Forgotten, Inspection, RecordState, StoreError,
    },
};

/// Milliseconds since 1970 by SQLite's clock.
pub(super) type Millis = i64;

/// What is under an id.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) owner: OwnerToken,
    pub(super) fingerprint: Fingerprint,
    pub(super) state: State,
    /// From then on the row is as good as absent.
    pub(super) expires_at: Millis,
    pub(super) claimed_at: Option<Millis>,
    /// How often the id was claimed, each time in the place of a lost claim.
    pub(super) attempts: Option<i64>,
}

#[derive(Clone, Debug)]
pub(super) enum State {
    Running {
        lease_until: Millis,
        on_lost: OnLost,
    },
    /// The owner is kept so that a completion whose answer was lost can be repeated. The
    /// response is in its durable form, and read only for those who ask for it.
    Done {
        response: Bytes,
        completed_at: Option<Millis>,
    },
}

/// What becomes of the row.
#[derive(Debug)]
pub(super) enum Change {
    Keep,
    Put(Row),
    Remove,
}

pub(super) fn claim(
    row: Option<&Row>,
    claim: &Claim,
    now: Millis,
) -> Result<(ClaimAnswer, Change), StoreError> {
    if let Some(row) = row
        && !row.is_expired(now)
        && !row.is_claimed_by(claim.owner)
        && !(claim.takes_over && row.is_lost(now))
    {
        return Ok((ClaimAnswer::Found(row.found(&claim.id, now)?), Change::Keep));
    }
    // A repeated claim gets its whole lease again, because the first answer may be long lost.
    let begun = match row {
        Some(row) if row.is_claimed_by(claim.owner) => (row.claimed_at, row.attempts),
        Some(row) if row.is_lost(now) => {
            let attempts = row.attempts.map(|attempts| attempts.saturating_add(1));
            (Some(now), attempts)
        }
        _ => (Some(now), Some(1)),
    };
    let running = Row::running(claim, now, begun);
    Ok((ClaimAnswer::Claimed, Change::Put(running)))
}

pub(super) fn complete(
    row: Option<&Row>,
    claim: &Claim,
    response: &StoredResponse,
    now: Millis,
) -> Result<(Completion, Change), StoreError> {
    if let Some(row) = row {
        if row.owner == claim.owner {
            if matches!(row.state, State::Done { .. }) {
                return Ok((Completion::Stored, Change::Keep));
            }
        } else if !row.is_expired(now) {
            let found = row.found(&claim.id, now)?;
            return Ok((Completion::Fenced(found), Change::Keep));
        }
    }
    let own = row.filter(|row| row.owner == claim.owner);
    let done = Row {
        owner: claim.owner,
        fingerprint: claim.fingerprint,
        state: State::Done {
            response: response.to_durable(&claim.id, &claim.fingerprint).into(),
            completed_at: Some(now),
        },
        expires_at: now.saturating_add(millis(claim.ttl)),
        claimed_at: own.and_then(|own| own.claimed_at),
        attempts: own.and_then(|own| own.attempts),
    };
    Ok((Completion::Stored, Change::Put(done)))
}

pub(super) fn release(row: Option<&Row>, claim: &Claim, now: Millis) -> (Fence, Change) {
    match row {
        Some(row) if row.is_claimed_by(claim.owner) => (Fence::Passed, Change::Remove),
        Some(row) if !row.is_expired(now) => (Fence::Fenced, Change::Keep),
        // Absent: released before, and the answer was lost.
        _ => (Fence::Passed, Change::Keep),
    }
}

pub(super) fn renew(row: Option<&Row>, claim: &Claim, now: Millis) -> (Fence, Change) {
    match row {
        // Even where the lease is over: nobody has come meanwhile.
        Some(row) if row.is_claimed_by(claim.owner) => {
            let begun = (row.claimed_at, row.attempts);
            (Fence::Passed, Change::Put(Row::running(claim, now, begun)))
        }
        _ => (Fence::Fenced, Change::Keep),
    }
}

pub(super) fn forget(row: Option<&Row>, forget: Forget, now: Millis) -> (Forgotten, Change) {
    match row.filter(|row| !row.is_expired(now)) {
        None => (Forgotten::Absent, Change::Keep),
        Some(row) if row.is_running(now) && forget < Forget::EvenRunning => {
            (Forgotten::Running, Change::Keep)
        }
        Some(row) if row.is_done() && forget < Forget::EvenDone => (Forgotten::Done, Change::Keep),
        Some(_) => (Forgotten::Removed, Change::Remove),
    }
}

impl Row {
    /// `begun` is when the id was claimed, and how often.
    fn running(claim: &Claim, now: Millis, begun: (Option<Millis>, Option<i64>)) -> Self {
        let lease_until = now.saturating_add(millis(claim.lease));
        let on_lost = claim.on_lost;
        Self {
            owner: claim.owner,
            fingerprint: claim.fingerprint,
            state: State::Running {
                lease_until,
                on_lost,
            },
            expires_at: match on_lost {
                OnLost::Rerun => lease_until,
                OnLost::Refuse => lease_until.saturating_add(millis(claim.ttl)),
            },
            claimed_at: begun.0,
            attempts: begun.1,
        }
    }

    /// Whether a claim is running whose lease is not over.
    pub(super) fn is_running(&self, now: Millis) -> bool {
        matches!(self.state, State::Running { lease_until, .. } if now < lease_until)
    }

    fn is_done(&self) -> bool {
        matches!(self.state, State::Done { .. })
    }

    /// The record, if it is this owner's.
    pub(super) fn done_by(&self, claim: &Claim, now: Millis) -> Result<Option<Found>, StoreError> {
        match self.state {
            State::Done { .. } if self.owner == claim.owner => self.found(&claim.id, now).map(Some),
            _ => Ok(None),
        }
    }

    fn is_claimed_by(&self, owner: OwnerToken) -> bool {
        self.owner == owner && matches!(self.state, State::Running { .. })
    }

    fn is_lost(&self, now: Millis) -> bool {
        matches!(self.state, State::Running { lease_until, .. } if lease_until <= now)
    }

    fn is_expired(&self, now: Millis) -> bool {
        self.expires_at <= now
    }

    fn found(&self, id: &RecordId, now: Millis) -> Result<Found, StoreError> {
        let fingerprint = self.fingerprint;
        Ok(match &self.state {
            State::Running { lease_until, .. } if now < *lease_until => Found::Running {
                fingerprint,
                lease_left: Some(left(*lease_until, now)),
            },
            State::Running { .. } => Found::Lost { fingerprint },
            State::Done { response, .. } => Found::Done {
                fingerprint,
                response: self.read(response, id)?,
                ttl_left: left(self.expires_at, now),
            },
        })
    }

    /// What an operator is told of it.
    pub(super) fn inspect(
        &self,
        id: &RecordId,
        now: Millis,
    ) -> Result<Option<Inspection>, StoreError> {
        if self.is_expired(now) {
            return Ok(None);
        }
        let expires_at = timestamp(self.expires_at);
        let state = match &self.state {
            State::Running { lease_until, .. } if now < *lease_until => RecordState::Running {
                lease_ends: Some(timestamp(*lease_until)),
            },
            State::Running { lease_until, .. } => RecordState::Lost {
                since: timestamp(*lease_until),
                expires_at,
            },
            State::Done {
                response,
                completed_at,
            } => RecordState::Done {
                completed_at: completed_at.map(timestamp),
                expires_at,
                response: self.read(response, id)?,
            },
        };
        Ok(Some(Inspection {
            id: *id,
            fingerprint: self.fingerprint,
            now: timestamp(now),
            claimed_at: self.claimed_at.map(timestamp),
            attempts: self
                .attempts
                .and_then(|attempts| u32::try_from(attempts).ok()),
            state,
        }))
    }

    fn read(&self, response: &Bytes, id: &RecordId) -> Result<StoredResponse, StoreError> {
        StoredResponse::from_durable(response.clone(), id, &self.fingerprint)
            .map_err(StoreError::unreadable)
    }
}

fn timestamp(millis: Millis) -> Timestamp {
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn left(end: Millis, now: Millis) -> Duration {
    Duration::from_millis(u64::try_from(end.saturating_sub(now)).unwrap_or(0))
}

/// Rounded up, so that no claim is believed for less than it asked for; and never so long that a
/// sum with the time is no integer any more.
pub(super) fn millis(duration: Duration) -> Millis {
    const LONGEST: Millis = Millis::MAX / 4;
    i64::try_from(duration.as_nanos().div_ceil(1_000_000)).map_or(LONGEST, |it| it.min(LONGEST))
}
