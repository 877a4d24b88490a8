//! How a claim or a record is written down as one value.
//!
//! | bytes | claim | record |
//! |---|---|---|
//! | 0 | format version | format version |
//! | 1 | state | state |
//! | 2..18 | owner | owner |
//! | 18..50 | fingerprint | fingerprint |
//! | 50..58 | ttl, in ms, little endian | ttl |
//! | 58.. | lease, in ms, little endian | the stored response, in its durable form |
//! | 66..74 | once it was renewed: when it was granted, in ms since 1970 | |
//!
//! The value expires by itself: a record when its ttl ends, a claim that may be run again when its
//! lease ends, and one that may not a ttl after its lease. So what is left of a lease is known
//! from how long the value still lives, by the server's own clock.

mod inspection;

use std::time::Duration;

use bytes::Bytes;

pub(super) use self::inspection::inspection;
use crate::{
    core::{
        fingerprint::Fingerprint,
        policy::OnLost,
        protocol::Found,
        record::{Claim, OwnerToken, RecordId},
        response::StoredResponse,
    },
    store::StoreError,
};

// The scripts name the version and the states too.
const VERSION: u8 = 1;
const MAY_RERUN: u8 = 1;
const REFUSES: u8 = 2;
const RECORD: u8 = 3;
/// How much of a value tells whose it is.
pub(super) const HEAD: usize = 18;
const PREFIX: usize = HEAD + 32 + 8;
const CLAIM: usize = PREFIX + 8;
/// More than a hundred thousand years, and still a number that Lua can tell from the next one.
const LONGEST_MS: u64 = 1 << 52;

/// The value of a claim.
pub(super) fn of_claim(claim: &Claim) -> Vec<u8> {
    let state = match claim.on_lost {
        OnLost::Rerun => MAY_RERUN,
        OnLost::Refuse => REFUSES,
    };
    let mut value = Vec::with_capacity(CLAIM);
    put_prefix(&mut value, state, claim);
    value.extend_from_slice(&millis(claim.lease).to_le_bytes());
    value
}

/// The value of the record that ends a claim.
pub(super) fn of_record(claim: &Claim, response: &StoredResponse) -> Vec<u8> {
    let response = response.to_durable(&claim.id, &claim.fingerprint);
    let mut value = Vec::with_capacity(PREFIX + response.len());
    put_prefix(&mut value, RECORD, claim);
    value.extend_from_slice(&response);
    value
}

/// An owner as it stands in a value.
pub(super) fn owner_bytes(owner: OwnerToken) -> [u8; 16] {
    owner.get().to_le_bytes()
}

/// How long a claim's value lives after a sign of life, in ms.
pub(super) fn claim_lifetime(claim: &Claim) -> u64 {
    match claim.on_lost {
        OnLost::Rerun => millis(claim.lease),
        OnLost::Refuse => millis(claim.lease) + millis(claim.ttl),
    }
}

/// A duration in the unit that the server takes, which knows no expiry after no time.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).map_or(LONGEST_MS, |millis| millis.clamp(1, LONGEST_MS))
}

fn put_prefix(value: &mut Vec<u8>, state: u8, claim: &Claim) {
    value.extend_from_slice(&[VERSION, state]);
    value.extend_from_slice(&owner_bytes(claim.owner));
    value.extend_from_slice(claim.fingerprint.as_bytes());
    value.extend_from_slice(&millis(claim.ttl).to_le_bytes());
}

/// A value that was read.
#[derive(Debug)]
pub(super) struct Kept {
    owner: [u8; 16],
    fingerprint: Fingerprint,
    ttl_ms: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    Claim {
        lease_ms: u64,
        on_lost: OnLost,
        /// Only where it was renewed.
        claimed_at: Option<u64>,
    },
    Record(StoredResponse),
}

impl Kept {
    /// Reads the value under an id.
    pub(super) fn read(id: &RecordId, value: Vec<u8>) -> Result<Self, StoreError> {
        let value = Bytes::from(value);
        match value.first() {
            Some(&VERSION) => {}
            Some(version) => {
                return Err(StoreError::unreadable(format!(
                    "the value has format version {version}, this version reads {VERSION}"
                )));
            }
            None => return Err(damaged()),
        }
        let ([_, state], rest) = value.split_first_chunk().ok_or_else(damaged)?;
        let (owner, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let (fingerprint, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let (ttl, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let fingerprint = Fingerprint::from_bytes(*fingerprint);
        let what = match *state {
            MAY_RERUN | REFUSES => {
                let (lease, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
                let claimed_at = match rest {
                    [] => None,
                    rest => Some(rest.try_into().map_err(|_| damaged())?),
                };
                What::Claim {
                    lease_ms: u64::from_le_bytes(*lease),
                    on_lost: if *state == REFUSES {
                        OnLost::Refuse
                    } else {
                        OnLost::Rerun
                    },
                    claimed_at: claimed_at.map(u64::from_le_bytes),
                }
            }
            RECORD => What::Record(
                StoredResponse::from_durable(value.slice(PREFIX..), id, &fingerprint)
                    .map_err(StoreError::unreadable)?,
            ),
            _ => return Err(damaged()),
        };
        Ok(Self {
            owner: *owner,
            fingerprint,
            ttl_ms: u64::from_le_bytes(*ttl),
            what,
        })
    }

    pub(super) fn is_claim_of(&self, owner: OwnerToken) -> bool {
        matches!(self.what, What::Claim { .. }) && self.owner == owner_bytes(owner)
    }

    /// Whose claim it is, if it is one that is still believed.
    pub(super) fn runs_for(&self, left: i64) -> Option<[u8; 16]> {
        let runs = matches!(self.what, What::Claim { .. }) && !self.is_lost(left);
        runs.then_some(self.owner)
    }

    /// Whether it is a claim whose lease has ended. `left` is what the server answers to `PTTL`;
    /// asked together with the value, but not in one step, it may belong to the value before.
    pub(super) fn is_lost(&self, left: i64) -> bool {
        match self.what {
            What::Claim {
                on_lost: OnLost::Refuse,
                ..
            } => left != NEVER && u64::try_from(left).is_ok_and(|left| left <= self.ttl_ms),
            What::Claim { .. } | What::Record(_) => false,
        }
    }

    /// What is told of it to whoever asked.
    pub(super) fn found(self, left: i64) -> Found {
        let lost = self.is_lost(left);
        let Self {
            fingerprint,
            ttl_ms,
            ..
        } = self;
        // Without an end: it was not there a moment before, or an operator has made it stay.
        let left = u64::try_from(left).ok();
        match self.what {
            What::Record(response) => Found::Done {
                fingerprint,
                response,
                ttl_left: Duration::from_millis(left.map_or(ttl_ms, |left| left.min(ttl_ms))),
            },
            What::Claim { .. } if lost => Found::Lost { fingerprint },
            What::Claim {
                lease_ms, on_lost, ..
            } => {
                let after = match on_lost {
                    OnLost::Rerun => 0,
                    OnLost::Refuse => ttl_ms,
                };
                let left = left.map_or(lease_ms, |left| left.saturating_sub(after).min(lease_ms));
                Found::Running {
                    fingerprint,
                    lease_left: Some(Duration::from_millis(left)),
                }
            }
        }
    }
}

/// What `PTTL` answers of a value that never expires.
const NEVER: i64 = -1;

pub(super) fn damaged() -> StoreError {
    StoreError::unreadable("the value is cut off, damaged, or not of this store")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Timestamp;

    const FINGERPRINT: Fingerprint = Fingerprint::from_bytes([7; 32]);

    fn claim(on_lost: OnLost) -> Claim {
        Claim {
            on_lost,
            ..Claim::new(
                RecordId::from_bytes([1; 32]),
                OwnerToken::new(u128::MAX - 5),
                FINGERPRINT,
            )
        }
    }

    #[test]
    fn a_claim_is_read_as_it_was_written() {
        for (on_lost, after) in [(OnLost::Rerun, 0), (OnLost::Refuse, 86_400_000)] {
            let claim = claim(on_lost);
            let read = || Kept::read(&claim.id, of_claim(&claim)).unwrap();
            assert!(read().is_claim_of(claim.owner));
            assert!(!read().is_claim_of(OwnerToken::new(5)));
            for (left, lease_left) in [(after + 1, 1), (after + 29_000, 29_000), (-1, 30_000)] {
                let lease_left = Some(Duration::from_millis(lease_left));
                let fingerprint = FINGERPRINT;
                assert_eq!(
                    read().found(left),
                    Found::Running {
                        fingerprint,
                        lease_left
                    }
                );
            }
        }
        let claim = claim(OnLost::Refuse);
        let mut renewed = of_claim(&claim);
        renewed.extend_from_slice(&5_u64.to_le_bytes());
        let now = Timestamp::from_millis(1_000_000);
        let of = |value| {
            inspection(
                claim.id,
                Kept::read(&claim.id, value).unwrap(),
                86_401_000,
                now,
            )
        };
        assert_eq!(
            of(renewed.clone()).claimed_at,
            Some(Timestamp::from_millis(5))
        );
        assert_eq!(
            of(of_claim(&claim)).claimed_at,
            Some(Timestamp::from_millis(971_000))
        );
        renewed.pop();
        assert!(Kept::read(&claim.id, renewed).is_err());
        let lost = Kept::read(&claim.id, of_claim(&claim)).unwrap();
        assert_eq!(lost.runs_for(86_400_000), None);
        assert!(matches!(lost.found(86_400_000), Found::Lost { .. }));
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let claim = claim(OnLost::Rerun);
        let response = StoredResponse::new(201, &[("location", b"/1")], b"body");
        let read = Kept::read(&claim.id, of_record(&claim, &response)).unwrap();
        assert!(!read.is_claim_of(claim.owner));
        assert_eq!(
            read.found(5),
            Found::Done {
                fingerprint: FINGERPRINT,
                response,
                ttl_left: Duration::from_millis(5)
            }
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..100), ours in any::<bool>(), left in any::<i64>(),
        ) {
            let mut bytes = bytes;
            if ours && bytes.len() > 1 {
                bytes[0] = VERSION;
                bytes[1] %= 5;
            }
            if let Ok(kept) = Kept::read(&RecordId::from_bytes([1; 32]), bytes) {
                kept.found(left);
            }
        }
    }
}
