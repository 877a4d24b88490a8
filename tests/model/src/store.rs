//! What is under the one id of the model, and what each verb makes of it: the obligations of
//! `idempotent_runtime::Store`, with a lease that ends when the model says so.

use idempotent_runtime::{
    Claim, Fingerprint, OnLost, OwnerToken, StoredResponse,
    protocol::Found,
    store::{ClaimAnswer, Completion, Fence},
};

/// Whose claim it is, as small as it can be: a request, and how often it has asked.
pub(crate) type Owner = u8;
/// What is asked for under the key.
pub(crate) type Payload = u8;

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Outcome {
    pub(crate) by: Owner,
    pub(crate) status: u16,
}

/// What is under the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Slot {
    Absent,
    Running {
        owner: Owner,
        payload: Payload,
        /// Whether the lease has ended.
        is_over: bool,
        is_refused: bool,
    },
    Done {
        payload: Payload,
        outcome: Outcome,
    },
}

impl Slot {
    pub(crate) fn claim(&mut self, claim: &Claim) -> ClaimAnswer {
        let is_free = match *self {
            Self::Absent => true,
            Self::Running {
                owner,
                is_over,
                is_refused,
                ..
            } => owner == owner_of(claim) || is_over && (!is_refused || claim.takes_over),
            Self::Done { .. } => false,
        };
        if !is_free {
            return ClaimAnswer::Found(self.found());
        }
        *self = Self::Running {
            owner: owner_of(claim),
            payload: claim.fingerprint.as_bytes()[0],
            is_over: false,
            is_refused: claim.on_lost == OnLost::Refuse,
        };
        ClaimAnswer::Claimed
    }

    pub(crate) fn complete(&mut self, claim: &Claim, response: &StoredResponse) -> Completion {
        match *self {
            Self::Done { outcome, .. } if outcome.by == owner_of(claim) => Completion::Stored,
            Self::Done { .. } => Completion::Fenced(self.found()),
            Self::Running { owner, .. } if owner != owner_of(claim) && !self.is_expired() => {
                Completion::Fenced(self.found())
            }
            Self::Absent | Self::Running { .. } => {
                *self = Self::done(claim, response);
                Completion::Stored
            }
        }
    }

    /// `complete` in the transaction that makes the effect: a record that is there already is
    /// found, whoever's it is.
    pub(crate) fn complete_in(&mut self, claim: &Claim, response: &StoredResponse) -> Completion {
        match self {
            Self::Done { .. } => Completion::Fenced(self.found()),
            Self::Absent | Self::Running { .. } => self.complete(claim, response),
        }
    }

    pub(crate) fn release(&mut self, claim: &Claim) -> Fence {
        match *self {
            Self::Running { owner, .. } if owner == owner_of(claim) => {
                *self = Self::Absent;
                Fence::Passed
            }
            Self::Absent => Fence::Passed,
            Self::Running { .. } if self.is_expired() => Fence::Passed,
            Self::Running { .. } | Self::Done { .. } => Fence::Fenced,
        }
    }

    pub(crate) fn renew(&mut self, claim: &Claim) -> Fence {
        match self {
            Self::Running { owner, is_over, .. } if *owner == owner_of(claim) => {
                *is_over = false;
                Fence::Passed
            }
            _ => Fence::Fenced,
        }
    }

    /// What was asked for under the id.
    pub(crate) fn payload(self) -> Option<Payload> {
        match self {
            Self::Absent => None,
            Self::Running { payload, .. } | Self::Done { payload, .. } => Some(payload),
        }
    }

    /// Whether this owner's claim is believed.
    pub(crate) fn is_claimed_by(self, run: Owner) -> bool {
        matches!(self, Self::Running { owner, is_over: false, .. } if owner == run)
    }

    /// Whether the claim is as good as absent.
    fn is_expired(self) -> bool {
        matches!(
            self,
            Self::Running {
                is_over: true,
                is_refused: false,
                ..
            }
        )
    }

    fn done(claim: &Claim, response: &StoredResponse) -> Self {
        Self::Done {
            payload: claim.fingerprint.as_bytes()[0],
            outcome: Outcome::of(response),
        }
    }

    pub(crate) fn found(self) -> Found {
        match self {
            Self::Absent => unreachable!("what is absent is claimed"),
            Self::Running {
                payload,
                is_over: false,
                ..
            } => Found::Running {
                fingerprint: fingerprint(payload),
                lease_left: None,
            },
            Self::Running { payload, .. } => Found::Lost {
                fingerprint: fingerprint(payload),
            },
            Self::Done { payload, outcome } => Found::Done {
                fingerprint: fingerprint(payload),
                response: outcome.response(),
                ttl_left: std::time::Duration::from_secs(1),
            },
        }
    }
}

impl Outcome {
    pub(crate) fn of(response: &StoredResponse) -> Self {
        Self {
            by: response.body()[0],
            status: response.status(),
        }
    }

    pub(crate) fn response(self) -> StoredResponse {
        StoredResponse::new(self.status, &[], &[self.by])
    }
}

pub(crate) fn fingerprint(payload: Payload) -> Fingerprint {
    Fingerprint::from_bytes([payload; 32])
}

pub(crate) fn token(owner: Owner) -> OwnerToken {
    OwnerToken::new(owner.into())
}

fn owner_of(claim: &Claim) -> Owner {
    Owner::try_from(claim.owner.get()).expect("the model's tokens are made of owners")
}
