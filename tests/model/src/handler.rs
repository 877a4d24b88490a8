//! A handler, and what becomes of a run in which nothing has happened.

use idempotent_runtime::{
    protocol::{Ending, PANIC_STATUS},
    store::{ClaimAnswer, Completion, Fence},
};

use crate::{
    configuration::Effect,
    decisions,
    engine::Next,
    state::{Later, Phase, Told, owner},
    steps::{Deed, Fate},
    store::{Outcome, Slot},
};

/// What a handler answers when it has made its effect.
pub(crate) const PAID: u16 = 201;
/// What a handler answers when it has done nothing.
pub(crate) const REFUSAL: u16 = 503;

impl Next<'_> {
    pub(crate) fn handle(&mut self, index: usize, deed: Deed, fate: Fate) {
        let by = owner(index, self.state.requests[index].asked);
        let returned = |status| Ending::Returned {
            status,
            released: false,
        };
        if deed != Deed::Pay {
            self.state.faults.refusals -= 1;
        }
        match (deed, self.configuration.effect) {
            (Deed::Refuse, _) => self.conclude(index, returned(REFUSAL), false),
            (Deed::Panic, _) => {
                self.pay(index);
                self.conclude(index, Ending::Panicked, false);
            }
            (Deed::Pay, Effect::Plain) => {
                self.pay(index);
                self.conclude(index, returned(PAID), false);
            }
            (Deed::Pay, Effect::CommitIn) => {
                let claim = self.claim_of(index, false);
                let outcome = Outcome { by, status: PAID };
                let before = self.state.slot;
                let answer =
                    self.carried(fate, |slot| slot.complete_in(&claim, &outcome.response()));
                // Effect and record are one.
                if self.state.slot != before {
                    self.pay(index);
                }
                match answer {
                    Some(Completion::Stored) => self.tell(index, Told::Outcome(outcome)),
                    Some(Completion::Fenced(found)) => {
                        let decided = decisions::decide_fenced(&claim, found);
                        self.tell_decided(index, decided);
                    }
                    None => self.conclude(index, returned(REFUSAL), true),
                }
            }
        }
    }

    fn pay(&mut self, index: usize) {
        self.state.effects += 1;
        self.state.paid |= 1 << index;
    }

    fn conclude(&mut self, index: usize, ending: Ending, in_doubt: bool) {
        let status = match ending {
            Ending::Returned { status, .. } => status,
            Ending::Panicked => PANIC_STATUS,
        };
        let by = owner(index, self.state.requests[index].asked);
        let phase = if decisions::is_outcome(self.configuration, ending) {
            let outcome = Outcome { by, status };
            Phase::Completing { outcome }
        } else {
            Phase::Releasing { in_doubt }
        };
        self.go(index, phase);
    }

    pub(crate) fn release(&mut self, index: usize, in_doubt: bool, fate: Fate) {
        let claim = self.claim_of(index, false);
        let told = match self.carried(fate, |slot| slot.release(&claim)) {
            None => {
                self.state.requests[index].later = Some(Later::Release);
                Told::Unavailable
            }
            Some(Fence::Fenced) if in_doubt => match self.state.slot.claim(&claim) {
                ClaimAnswer::Claimed => {
                    self.state.requests[index].later = Some(Later::Release);
                    Told::Unavailable
                }
                ClaimAnswer::Found(_) if matches!(self.state.slot, Slot::Done { .. }) => {
                    let decided = decisions::decide_fenced(&claim, self.state.slot.found());
                    return self.tell_decided(index, decided);
                }
                ClaimAnswer::Found(_) => Told::Unavailable,
            },
            Some(Fence::Passed | Fence::Fenced) => Told::Unavailable,
        };
        self.tell(index, told);
    }
}
