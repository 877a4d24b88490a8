//! A shard, looked at by an operator.

use super::{Budget, Shard, Slot, State};
use crate::{
    clock::Timestamp,
    core::record::RecordId,
    store::{Forget, Forgotten, Inspection, RecordState, Which},
};

impl Shard {
    pub(in crate::store::memory) fn inspect(
        &self,
        id: &RecordId,
        now: Timestamp,
    ) -> Option<Inspection> {
        let slot = self.slots.get(id).filter(|slot| !slot.is_expired(now))?;
        Some(slot.inspect(*id, now))
    }

    pub(in crate::store::memory) fn forget(
        &mut self,
        id: &RecordId,
        forget: Forget,
        now: Timestamp,
        budget: &Budget,
    ) -> Forgotten {
        match self.slots.get(id).filter(|slot| !slot.is_expired(now)) {
            None => Forgotten::Absent,
            Some(slot) if slot.is_running() && forget < Forget::EvenRunning => Forgotten::Running,
            Some(slot) if slot.is_done() && forget < Forget::EvenDone => Forgotten::Done,
            Some(_) => {
                self.end_claim(id, budget);
                Forgotten::Removed
            }
        }
    }

    /// The claims that are listed, of ids behind this one; in no order.
    pub(in crate::store::memory) fn list(
        &self,
        which: Which,
        after: Option<RecordId>,
        now: Timestamp,
    ) -> impl Iterator<Item = Inspection> {
        let behind = move |id: &RecordId| after.is_none_or(|after| *id > after);
        self.slots
            .iter()
            // A record would be copied for nothing.
            .filter(move |(id, slot)| !slot.is_done() && !slot.is_expired(now) && behind(id))
            .map(move |(id, slot)| slot.inspect(*id, now))
            .filter(move |inspection| which.has(inspection))
    }
}

impl Slot {
    fn inspect(&self, id: RecordId, now: Timestamp) -> Inspection {
        let since = self.since;
        let state = match &self.state {
            State::Running { .. } => RecordState::Running { lease_ends: None },
            State::Lost { expires } => RecordState::Lost {
                since,
                expires_at: *expires,
            },
            State::Done { expires, response } => RecordState::Done {
                completed_at: Some(since),
                expires_at: *expires,
                response: response.clone(),
            },
        };
        Inspection {
            id,
            fingerprint: self.fingerprint,
            now,
            claimed_at: self.is_running().then_some(since),
            attempts: Some(self.attempts),
            state,
        }
    }
}
