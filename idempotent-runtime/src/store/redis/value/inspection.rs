//! What an operator is told of a value.

use std::time::Duration;

use super::{Kept, What, millis};
use crate::{
    clock::Timestamp,
    core::{protocol::Found, record::RecordId},
    store::{Inspection, RecordState},
};

/// What an operator is told of a value; `left` was asked for together with it, at `now`.
pub(in crate::store::redis) fn inspection(
    id: RecordId,
    kept: Kept,
    left: i64,
    now: Timestamp,
) -> Inspection {
    let expires_at = |left| now.after(left);
    let (ttl, fingerprint) = (Duration::from_millis(kept.ttl_ms), kept.fingerprint);
    let lives = Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX));
    let claimed = match kept.what {
        What::Claim {
            lease_ms,
            claimed_at,
            ..
        } => Some((Duration::from_millis(lease_ms), claimed_at)),
        What::Record(_) => None,
    };
    let state = match kept.found(left) {
        Found::Running { lease_left, .. } => RecordState::Running {
            lease_ends: lease_left.map(expires_at),
        },
        Found::Lost { .. } => RecordState::Lost {
            since: before(expires_at(lives), ttl),
            expires_at: expires_at(lives),
        },
        Found::Done {
            response, ttl_left, ..
        } => RecordState::Done {
            completed_at: Some(before(expires_at(ttl_left), ttl)),
            expires_at: expires_at(ttl_left),
            response,
        },
    };
    let claimed_at = claimed.and_then(|(lease, written)| {
        let lease_ends = match &state {
            RecordState::Running { lease_ends } => *lease_ends,
            RecordState::Lost { since, .. } => Some(*since),
            RecordState::Done { .. } => None,
        };
        written
            .map(Timestamp::from_millis)
            .or_else(|| Some(before(lease_ends?, lease)))
    });
    Inspection {
        id,
        fingerprint,
        now,
        claimed_at,
        attempts: None,
        state,
    }
}

fn before(time: Timestamp, duration: Duration) -> Timestamp {
    Timestamp::from_millis(time.as_millis().saturating_sub(millis(duration)))
}
