//! What each verb makes of the row under its id. Time is an argument.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    core::{
        fingerprint::Fingerprint,
        policy::OnLost,
        protocol::Found,
        record::{Claim, OwnerToken, RecordId},
        response::StoredResponse,
    },
    store::{ClaimAnswer, Completion, Fence, StoreError},
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
}

#[derive(Clone, Debug)]
pub(super) enum State {
    Running {
        lease_until: Millis,
        on_lost: OnLost,
    },
    /// The owner is kept so that a completion whose answer was lost can be repeated. The
    /// response is in its durable form, and read only for those who ask for it.
    Done { response: Bytes },
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
    Ok((ClaimAnswer::Claimed, Change::Put(Row::running(claim, now))))
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
    let done = Row {
        owner: claim.owner,
        fingerprint: claim.fingerprint,
        state: State::Done {
            response: response.to_durable(&claim.id, &claim.fingerprint).into(),
        },
        expires_at: now.saturating_add(millis(claim.ttl)),
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
            (Fence::Passed, Change::Put(Row::running(claim, now)))
        }
        _ => (Fence::Fenced, Change::Keep),
    }
}

impl Row {
    fn running(claim: &Claim, now: Millis) -> Self {
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
        }
    }

    /// Whether a claim is running whose lease is not over.
    pub(super) fn is_running(&self, now: Millis) -> bool {
        matches!(self.state, State::Running { lease_until, .. } if now < lease_until)
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
            State::Done { response } => Found::Done {
                fingerprint,
                response: StoredResponse::from_durable(response.clone(), id, &fingerprint)
                    .map_err(StoreError::unreadable)?,
                ttl_left: left(self.expires_at, now),
            },
        })
    }
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
