//! One shard of the map: claims, records, and when they expire.

mod inspect;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
};

use foldhash::fast::RandomState;
use tokio::sync::Notify as Bell;

use super::budget::Budget;
use crate::{
    clock::{Clock, Timestamp},
    core::{
        fingerprint::Fingerprint,
        policy::OnLost,
        protocol::Found,
        record::{Claim, OwnerToken, RecordId},
        response::StoredResponse,
    },
    store::{ClaimAnswer, Completion, Fence, StoreError},
};

/// What an entry takes beside its response: its place in the map and in the expiry queue.
const ENTRY_BYTES: u64 = 256;
/// What a claim reserves for the headers of its response.
const HEADER_BYTES: u64 = 1024;
/// How many expired records whoever adds one to a shard removes from it. More than one, so that
/// removing keeps ahead of adding.
const SWEEP_STEP: usize = 4;
/// How much longer than twice the map the queue of expiries may grow: an id that is claimed anew,
/// such as a lost one that is asked about, leaves its earlier place in it behind.
const STALE_EXPIRIES: usize = 64;

#[derive(Default)]
pub(super) struct Shard {
    /// In boxes, because a table of large entries is slow to grow, and an entry's place in it is
    /// far from everything that was used before.
    slots: HashMap<RecordId, Box<Slot>, RandomState>,
    expiries: BinaryHeap<Reverse<(Timestamp, RecordId)>>,
}

/// What is under an id. The owner of a record is kept so that a completion whose answer was lost
/// can be repeated.
struct Slot {
    owner: OwnerToken,
    fingerprint: Fingerprint,
    /// When the state began.
    since: Timestamp,
    /// How often the id was claimed, each time in the place of a lost claim.
    attempts: u32,
    state: State,
}

enum State {
    Running {
        reserved: u64,
        /// Made by the first who waits.
        bell: Option<Arc<Bell>>,
    },
    Done {
        expires: Timestamp,
        response: StoredResponse,
    },
    Lost {
        expires: Timestamp,
    },
}

impl Shard {
    pub(super) fn claim(
        &mut self,
        claim: &Claim,
        clock: &dyn Clock,
        budget: &Budget,
    ) -> Result<ClaimAnswer, StoreError> {
        let now = clock.now();
        let mut attempts = 1;
        if let Some(slot) = self.slots.get(&claim.id) {
            if slot.is_claimed_by(claim.owner) {
                return Ok(ClaimAnswer::Claimed);
            }
            let is_lost = matches!(slot.state, State::Lost { .. });
            let is_expired = slot.is_expired(now);
            if !(is_expired || is_lost && claim.takes_over) {
                return Ok(ClaimAnswer::Found(slot.found(now)));
            }
            if !is_expired {
                attempts = slot.attempts.saturating_add(1);
            }
        }
        let reserved = claim
            .max_response
            .saturating_add(ENTRY_BYTES + HEADER_BYTES);
        // What the claim takes the place of stays where there is no room for its successor.
        let replaced = self.slots.get(&claim.id).map(|slot| slot.state.bytes());
        replaced.inspect(|bytes| budget.give_back(*bytes));
        budget.reserve(reserved).inspect_err(|_| {
            replaced.inspect(|bytes| budget.take(*bytes));
        })?;
        self.slots.remove(&claim.id);
        let bell = None;
        self.insert(claim, now, attempts, State::Running { reserved, bell });
        Ok(ClaimAnswer::Claimed)
    }

    pub(super) fn complete(
        &mut self,
        claim: &Claim,
        response: StoredResponse,
        now: Timestamp,
        budget: &Budget,
    ) -> Completion {
        let expires = now.after(claim.ttl);
        let done = State::Done { expires, response };
        match self.slots.get_mut(&claim.id) {
            Some(slot) if slot.owner == claim.owner && !slot.is_done() => {
                slot.leave_running(done, now, budget);
            }
            Some(slot) if !slot.is_expired(now) => {
                return if slot.owner == claim.owner {
                    Completion::Stored
                } else {
                    Completion::Fenced(slot.found(now))
                };
            }
            _ => {
                self.remove(&claim.id, budget);
                // The effect has happened: its record is kept even if that goes over the budget.
                budget.take(done.bytes());
                self.insert(claim, now, 1, done);
            }
        }
        self.queue_expiry(claim.id, expires, now, budget);
        Completion::Stored
    }

    pub(super) fn release(&mut self, claim: &Claim, now: Timestamp, budget: &Budget) -> Fence {
        match self.slots.get(&claim.id) {
            Some(slot) if slot.is_claimed_by(claim.owner) => {
                self.end_claim(&claim.id, budget);
                Fence::Passed
            }
            Some(slot) if !slot.is_expired(now) => Fence::Fenced,
            // Absent: released before, and the answer was lost.
            _ => Fence::Passed,
        }
    }

    pub(super) fn renew(&self, claim: &Claim) -> Fence {
        match self.slots.get(&claim.id) {
            Some(slot) if slot.is_claimed_by(claim.owner) => Fence::Passed,
            _ => Fence::Fenced,
        }
    }

    pub(super) fn abandon(&mut self, claim: &Claim, now: Timestamp, budget: &Budget) {
        let Some(slot) = self.slots.get_mut(&claim.id) else {
            return;
        };
        if !slot.is_claimed_by(claim.owner) {
            return;
        }
        match claim.on_lost {
            OnLost::Rerun => self.end_claim(&claim.id, budget),
            OnLost::Refuse => {
                let expires = now.after(claim.ttl);
                slot.leave_running(State::Lost { expires }, now, budget);
                self.queue_expiry(claim.id, expires, now, budget);
            }
        }
    }

    /// Remembers when the id expires, and removes some of what has.
    fn queue_expiry(&mut self, id: RecordId, expires: Timestamp, now: Timestamp, budget: &Budget) {
        self.expiries.push(Reverse((expires, id)));
        self.sweep(now, SWEEP_STEP, budget);
        if self.expiries.len() > 2 * self.slots.len() + STALE_EXPIRIES {
            let slots = self.slots.iter();
            let current = slots.filter_map(|(id, slot)| Some(Reverse((slot.expires()?, *id))));
            self.expiries = current.collect();
        }
    }

    fn end_claim(&mut self, id: &RecordId, budget: &Budget) {
        if let Some(slot) = self.remove(id, budget) {
            slot.ring();
        }
    }

    fn insert(&mut self, claim: &Claim, since: Timestamp, attempts: u32, state: State) {
        let slot = Slot {
            owner: claim.owner,
            fingerprint: claim.fingerprint,
            since,
            attempts,
            state,
        };
        self.slots.insert(claim.id, Box::new(slot));
    }

    fn remove(&mut self, id: &RecordId, budget: &Budget) -> Option<Box<Slot>> {
        let slot = self.slots.remove(id)?;
        budget.give_back(slot.state.bytes());
        Some(slot)
    }

    pub(super) fn bell(&mut self, id: &RecordId) -> Option<Arc<Bell>> {
        match &mut self.slots.get_mut(id)?.state {
            State::Running { bell, .. } => Some(Arc::clone(bell.get_or_insert_default())),
            State::Done { .. } | State::Lost { .. } => None,
        }
    }

    pub(super) fn sweep(&mut self, now: Timestamp, limit: usize, budget: &Budget) -> usize {
        let mut removed = 0;
        while removed < limit
            && let Some(Reverse((expires, id))) = self.expiries.peek().copied()
            && expires <= now
        {
            self.expiries.pop();
            // The id may have been claimed anew since; that slot is not this entry's.
            if self.slots.get(&id).is_some_and(|slot| slot.is_expired(now)) {
                self.remove(&id, budget);
                removed += 1;
            }
        }
        if removed > 0 && self.slots.len() < self.slots.capacity() / 8 {
            self.slots.shrink_to(self.slots.len() * 2);
            self.expiries.shrink_to(self.expiries.len() * 2);
        }
        removed
    }
}

impl Slot {
    fn is_claimed_by(&self, owner: OwnerToken) -> bool {
        self.owner == owner && matches!(self.state, State::Running { .. })
    }

    fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    fn is_done(&self) -> bool {
        matches!(self.state, State::Done { .. })
    }

    fn expires(&self) -> Option<Timestamp> {
        match self.state {
            State::Running { .. } => None,
            State::Done { expires, .. } | State::Lost { expires } => Some(expires),
        }
    }

    fn is_expired(&self, now: Timestamp) -> bool {
        self.expires().is_some_and(|expires| expires <= now)
    }

    fn found(&self, now: Timestamp) -> Found {
        let fingerprint = self.fingerprint;
        match &self.state {
            State::Running { .. } => Found::Running {
                fingerprint,
                lease_left: None,
            },
            State::Done { response, expires } => Found::Done {
                fingerprint,
                response: response.clone(),
                ttl_left: expires.since(now),
            },
            State::Lost { .. } => Found::Lost { fingerprint },
        }
    }

    /// Replaces the claim by what came of it, and wakes those who waited.
    fn leave_running(&mut self, next: State, now: Timestamp, budget: &Budget) {
        budget.change(self.state.bytes(), next.bytes());
        self.ring();
        self.since = now;
        self.state = next;
    }

    fn ring(&self) {
        if let State::Running {
            bell: Some(bell), ..
        } = &self.state
        {
            bell.notify_waiters();
        }
    }
}

impl State {
    /// What the state takes of the budget.
    fn bytes(&self) -> u64 {
        match self {
            Self::Running { reserved, .. } => *reserved,
            Self::Done { response, .. } => ENTRY_BYTES + response.as_bytes().len() as u64,
            Self::Lost { .. } => ENTRY_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    #[test]
    fn a_lost_claim_that_is_asked_about_again_and_again_takes_no_more_room() {
        let (mut shard, clock) = (Shard::default(), ManualClock::default());
        let budget = Budget::new(u64::MAX, 10);
        let claims = |id| (1..).map(move |owner| claim(id, owner));
        for claim in claims(2).take(1).chain(claims(1).take(1000)) {
            let answer = shard.claim(&claim, &clock, &budget);
            assert!(matches!(answer, Ok(ClaimAnswer::Claimed)));
            shard.abandon(&claim, clock.now(), &budget);
        }
        assert!(shard.expiries.len() <= 4 + STALE_EXPIRIES);
        assert_eq!((shard.slots.len(), budget.entries()), (2, 2));
        let later = clock.now().after(claim(1, 1).ttl);
        shard.sweep(later, 10, &budget);
        assert_eq!((shard.slots.len(), shard.expiries.len()), (0, 0));
    }

    fn claim(id: u8, owner: u128) -> Claim {
        let id = RecordId::from_bytes([id; 32]);
        let fingerprint = Fingerprint::from_bytes([0; 32]);
        let mut claim = Claim::new(id, OwnerToken::new(owner), fingerprint);
        claim.on_lost = OnLost::Refuse;
        claim.takes_over = true;
        claim
    }
}
