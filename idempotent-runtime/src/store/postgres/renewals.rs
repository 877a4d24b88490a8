//! Leases that are to be renewed: now, or once more in a moment.
//!
//! The row of a handler's own open transaction cannot be renewed, and needs no lease for as long
//! as it is locked. It does from when that transaction is rolled back, and by then its lease may
//! be over. So such a renewal is repeated until shortly before the run asks for the next.

use std::mem::take;

use tokio::{sync::oneshot, time::Instant};

use crate::{core::record::Claim, store::StoreError};

/// How often a renewal is repeated, in parts of a lease. Runs renew at each third of it.
const REPEATS: u32 = 3;
const PAUSES_PER_LEASE: u32 = 12;

/// Who asked, and is told whether the claim is the owner's.
pub(super) type Answer = oneshot::Sender<Result<bool, StoreError>>;

/// One claim's.
pub(super) struct Renewal {
    pub(super) claim: Claim,
    /// `None` when it is repeated: whoever asked has been told.
    answer: Option<Answer>,
    repeats_left: u32,
}

/// All of them.
#[derive(Default)]
pub(super) struct Renewals {
    asked: Vec<Renewal>,
    repeated: Vec<(Instant, Renewal)>,
}

impl Renewals {
    pub(super) fn ask(&mut self, claim: Claim, answer: Answer) {
        self.repeated.retain(|(_, renewal)| {
            renewal.claim.id != claim.id || renewal.claim.owner != claim.owner
        });
        self.asked.push(Renewal {
            claim,
            answer: Some(answer),
            repeats_left: REPEATS,
        });
    }

    /// When the next is to be repeated.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.repeated.iter().map(|(due, _)| *due).min()
    }

    /// Those whose time has come.
    pub(super) fn take_due(&mut self) -> Vec<Renewal> {
        let now = Instant::now();
        let mut due = take(&mut self.asked);
        for (at, renewal) in take(&mut self.repeated) {
            if at <= now {
                due.push(renewal);
            } else {
                self.repeated.push((at, renewal));
            }
        }
        due
    }

    /// One could not be carried out because its row is locked. The claim is still the owner's.
    pub(super) fn locked(&mut self, mut renewal: Renewal) {
        renewal.tell(Ok(true));
        if renewal.repeats_left > 0 {
            renewal.repeats_left -= 1;
            let due = Instant::now() + renewal.claim.lease / PAUSES_PER_LEASE;
            self.repeated.push((due, renewal));
        }
    }
}

impl Renewal {
    pub(super) fn tell(&mut self, told: Result<bool, StoreError>) {
        if let Some(answer) = self.answer.take() {
            // Whoever asked may be gone.
            let _ = answer.send(told);
        }
    }
}
