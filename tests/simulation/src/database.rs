//! The database that all servers share: claims, records and payments. It outlives every server.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use idempotent_runtime::{
    Claim, Fingerprint, OnLost, OwnerToken, RecordId, StoredResponse, Timestamp,
    protocol::Found,
    store::{ClaimAnswer, Completion, Fence},
};

/// The number of an operation, which is the amount that is paid.
pub(crate) type Operation = u32;
/// The number of a payment.
pub(crate) type Payment = u32;

/// Claims, records and payments. Every method is one step.
#[derive(Default)]
pub(crate) struct Database {
    rows: BTreeMap<RecordId, Row>,
    /// The ids whose rows are changed by a transaction that is still open.
    locked: BTreeSet<RecordId>,
    payments: BTreeMap<Payment, Operation>,
    /// As a sequence of a database, it is not rolled back.
    last_payment: Payment,
}

struct Row {
    owner: OwnerToken,
    fingerprint: Fingerprint,
    state: State,
    /// From then on the row is as good as absent.
    expires: Timestamp,
}

enum State {
    Running { lease_ends: Timestamp },
    Done(StoredResponse),
}

impl Database {
    pub(crate) fn claim(&mut self, claim: &Claim, now: Timestamp) -> ClaimAnswer {
        if let Some(row) = self.rows.get(&claim.id)
            && !row.is_expired(now)
            && !row.is_claimed_by(claim.owner)
            && !(claim.takes_over && row.is_lost(now))
        {
            return ClaimAnswer::Found(row.found(now));
        }
        self.rows.insert(claim.id, Row::running(claim, now));
        ClaimAnswer::Claimed
    }

    pub(crate) fn complete(
        &mut self,
        claim: &Claim,
        response: &StoredResponse,
        now: Timestamp,
    ) -> Completion {
        if let Some(row) = self.rows.get(&claim.id) {
            if row.owner == claim.owner {
                if row.is_done() {
                    return Completion::Stored;
                }
            } else if !row.is_expired(now) {
                return Completion::Fenced(row.found(now));
            }
        }
        self.rows.insert(claim.id, Row::done(claim, response, now));
        Completion::Stored
    }

    pub(crate) fn release(&mut self, claim: &Claim, now: Timestamp) -> Fence {
        match self.rows.get(&claim.id) {
            Some(row) if row.is_claimed_by(claim.owner) => {
                self.rows.remove(&claim.id);
                Fence::Passed
            }
            Some(row) if !row.is_expired(now) => Fence::Fenced,
            // Absent: released before, and the answer was lost.
            _ => Fence::Passed,
        }
    }

    pub(crate) fn renew(&mut self, claim: &Claim, now: Timestamp) -> Fence {
        match self.rows.get(&claim.id) {
            Some(row) if row.is_claimed_by(claim.owner) => {
                self.rows.insert(claim.id, Row::running(claim, now));
                Fence::Passed
            }
            _ => Fence::Fenced,
        }
    }

    /// Locks the claim's row for a transaction that is to record an outcome; what is there is
    /// given if there is an outcome, or another owner.
    pub(crate) fn lock_to_complete(&mut self, claim: &Claim, now: Timestamp) -> Option<Found> {
        if let Some(row) = self.rows.get(&claim.id)
            && !row.is_expired(now)
            && (row.is_done() || row.owner != claim.owner)
        {
            return Some(row.found(now));
        }
        self.locked.insert(claim.id);
        None
    }

    pub(crate) fn is_locked(&self, id: &RecordId) -> bool {
        self.locked.contains(id)
    }

    pub(crate) fn unlock(&mut self, id: &RecordId) {
        self.locked.remove(id);
    }

    /// Writes the record of a transaction that holds the row's lock.
    pub(crate) fn record(&mut self, claim: &Claim, response: &StoredResponse, now: Timestamp) {
        self.rows.insert(claim.id, Row::done(claim, response, now));
    }

    /// A number for a payment that is not made yet.
    pub(crate) fn next_payment(&mut self) -> Payment {
        self.last_payment += 1;
        self.last_payment
    }

    pub(crate) fn pay(&mut self, payment: Payment, operation: Operation) {
        self.payments.insert(payment, operation);
    }

    /// The payments of an operation.
    pub(crate) fn payments_of(&self, operation: Operation) -> Vec<Payment> {
        let its = self.payments.iter().filter(|(_, of)| **of == operation);
        its.map(|(payment, _)| *payment).collect()
    }
}

impl Row {
    fn running(claim: &Claim, now: Timestamp) -> Self {
        let lease_ends = now.after(claim.lease);
        Self {
            owner: claim.owner,
            fingerprint: claim.fingerprint,
            state: State::Running { lease_ends },
            expires: match claim.on_lost {
                OnLost::Rerun => lease_ends,
                OnLost::Refuse => lease_ends.after(claim.ttl),
            },
        }
    }

    fn done(claim: &Claim, response: &StoredResponse, now: Timestamp) -> Self {
        Self {
            owner: claim.owner,
            fingerprint: claim.fingerprint,
            state: State::Done(response.clone()),
            expires: now.after(claim.ttl),
        }
    }

    fn is_done(&self) -> bool {
        matches!(self.state, State::Done(_))
    }

    fn is_claimed_by(&self, owner: OwnerToken) -> bool {
        self.owner == owner && !self.is_done()
    }

    fn is_lost(&self, now: Timestamp) -> bool {
        matches!(self.state, State::Running { lease_ends } if lease_ends <= now)
    }

    fn is_expired(&self, now: Timestamp) -> bool {
        self.expires <= now
    }

    fn found(&self, now: Timestamp) -> Found {
        let fingerprint = self.fingerprint;
        match &self.state {
            State::Running { lease_ends } if now < *lease_ends => Found::Running {
                fingerprint,
                lease_left: Some(lease_ends.since(now)),
            },
            State::Running { .. } => Found::Lost { fingerprint },
            State::Done(response) => Found::Done {
                fingerprint,
                response: response.clone(),
                ttl_left: self.expires.since(now).max(Duration::from_millis(1)),
            },
        }
    }
}
