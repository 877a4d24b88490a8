//! What a step changes: the engine, as far as it is of interest here.

use idempotent_runtime::{
    Claim, OnLost, RecordId,
    store::{ClaimAnswer, Completion, Fence},
};

use crate::{
    configuration::Configuration,
    decisions::{self, Decided},
    judge,
    state::{Doing, Later, Phase, Request, Rule, State, Told, owner},
    steps::{Fate, Step, is_at_work},
    store::Slot,
};

/// The state after a step; `None` if that changes nothing.
pub(crate) fn take(
    configuration: &Configuration,
    id: RecordId,
    before: &State,
    step: Step,
) -> Option<State> {
    let mut next = Next {
        configuration,
        id,
        state: before.clone(),
    };
    next.take(step);
    let mut state = next.state;
    judge::step(&mut state, before, step);
    (state != *before).then_some(state)
}

/// A state that is being changed.
pub(crate) struct Next<'a> {
    pub(crate) configuration: &'a Configuration,
    id: RecordId,
    pub(crate) state: State,
}

impl Next<'_> {
    fn take(&mut self, step: Step) {
        match step {
            Step::Send(client) => self.send(client),
            Step::HangUp(client) => {
                self.state.faults.hang_ups -= 1;
                self.state.clients[client].doing = Doing::Trying { after: None };
            }
            Step::Verb(index, fate) => self.verb(index, fate),
            Step::Answer(index) => self.answer(index),
            Step::AskAgain(index, may_wait) => self.claim_again(index, false, may_wait),
            Step::Handle(index, deed, fate) => self.handle(index, deed, fate),
            Step::Background(index, fate) => self.background(index, fate),
            Step::Renew(index) => self.renew(index),
            Step::Crash(index) => self.crash(index),
            Step::LeaseEnds => self.end_lease(),
            Step::Expire => {
                self.state.faults.expiries -= 1;
                self.state.slot = Slot::Absent;
                self.state.effects = 0;
                self.state.epoch += 1;
            }
        }
    }

    fn send(&mut self, client: usize) {
        let State {
            clients,
            requests,
            record,
            epoch,
            ..
        } = &mut self.state;
        let payload = clients[client].payload;
        let id = decisions::ask(self.configuration, payload);
        assert_eq!(id, self.id, "one key of one caller is one record");
        let index = u8::try_from(requests.len()).expect("there are few requests");
        clients[client].doing = Doing::Sent(index);
        requests.push(Request {
            client: u8::try_from(client).expect("there are few clients"),
            payload,
            asked: 0,
            phase: Phase::Claiming {
                takes_over: false,
                may_wait: self.configuration.policy.wait.is_some(),
            },
            later: None,
            expects: record.map(|outcome| (outcome, *epoch)),
        });
    }

    fn end_lease(&mut self) {
        if let Slot::Running { owner, .. } = self.state.slot
            && is_at_work(&self.state, owner)
        {
            self.state.faults.lapses -= 1;
        }
        if let Slot::Running { is_over, .. } = &mut self.state.slot {
            *is_over = true;
        }
    }

    /// Lets the verb happen as its fate says, and gives the answer if there is one.
    pub(crate) fn carried<A>(
        &mut self,
        fate: Fate,
        verb: impl FnOnce(&mut Slot) -> A,
    ) -> Option<A> {
        if fate != Fate::Answered {
            self.state.faults.losses -= 1;
        }
        if fate == Fate::NotSent {
            return None;
        }
        let answer = verb(&mut self.state.slot);
        (fate == Fate::Answered).then_some(answer)
    }

    pub(crate) fn claim_of(&self, index: usize, takes_over: bool) -> Claim {
        let Request { payload, asked, .. } = self.state.requests[index];
        let owner = owner(index, asked);
        decisions::claim(self.configuration, self.id, owner, payload, takes_over)
    }

    fn verb(&mut self, index: usize, fate: Fate) {
        match self.state.requests[index].phase {
            Phase::Claiming {
                takes_over,
                may_wait,
            } => {
                let claim = self.claim_of(index, takes_over);
                let found = self.state.slot;
                match self.carried(fate, |slot| slot.claim(&claim)) {
                    Some(ClaimAnswer::Claimed) => self.go(index, Phase::Granted),
                    Some(ClaimAnswer::Found(_)) => {
                        let epoch = self.state.epoch;
                        self.go(
                            index,
                            Phase::Denied {
                                found,
                                may_wait,
                                epoch,
                            },
                        );
                    }
                    // It may have been granted all the same.
                    None => {
                        self.state.requests[index].later = Some(Later::Release);
                        self.tell(index, Told::Unavailable);
                    }
                }
            }
            Phase::Completing { outcome } => {
                let claim = self.claim_of(index, false);
                match self.carried(fate, |slot| slot.complete(&claim, &outcome.response())) {
                    Some(Completion::Stored) => self.tell(index, Told::Outcome(outcome)),
                    Some(Completion::Fenced(found)) => {
                        let decided = decisions::decide_fenced(&claim, found);
                        self.tell_decided(index, decided);
                    }
                    // The effect has happened, whatever becomes of its record.
                    None => {
                        self.state.requests[index].later = Some(Later::Complete(outcome));
                        self.tell(index, Told::Outcome(outcome));
                    }
                }
            }
            Phase::Releasing { in_doubt } => self.release(index, in_doubt, fate),
            other => unreachable!("{other:?} uses no verb"),
        }
    }

    fn answer(&mut self, index: usize) {
        let Phase::Denied {
            found,
            may_wait,
            epoch,
        } = self.state.requests[index].phase
        else {
            return self.go(index, Phase::Running);
        };
        let claim = self.claim_of(index, false);
        let decided = decisions::decide(self.configuration, &claim, found.found(), may_wait);
        let is_same = found.payload() == Some(self.state.requests[index].payload);
        if is_same == (decided == Decided::Tell(Told::Reused)) {
            self.state.break_rule(Rule::PayloadMistaken);
        }
        match (decided, found) {
            (Decided::Tell(told), _) => self.tell_of(index, told, epoch),
            (Decided::TakeOver, _) => {
                if self.configuration.policy.on_lost == OnLost::Refuse {
                    self.state.break_rule(Rule::Overstepped);
                }
                self.claim_again(index, true, may_wait);
            }
            (Decided::Wait, Slot::Running { owner: run, .. }) => {
                self.go(index, Phase::Waiting { run });
            }
            (Decided::Wait, _) => unreachable!("only a run is waited for"),
        }
    }

    fn claim_again(&mut self, index: usize, takes_over: bool, may_wait: bool) {
        self.state.requests[index].asked += 1;
        self.go(
            index,
            Phase::Claiming {
                takes_over,
                may_wait,
            },
        );
    }

    fn background(&mut self, index: usize, fate: Fate) {
        let claim = self.claim_of(index, false);
        let later = self.state.requests[index].later;
        let is_answered = match later.expect("only what is there is tried again") {
            Later::Complete(outcome) => {
                let response = outcome.response();
                self.carried(fate, |slot| slot.complete(&claim, &response))
                    .is_some()
            }
            Later::Release => self.carried(fate, |slot| slot.release(&claim)).is_some(),
        };
        if is_answered {
            self.state.requests[index].later = None;
        }
    }

    fn renew(&mut self, index: usize) {
        let claim = self.claim_of(index, false);
        let is_releasing = matches!(self.state.requests[index].phase, Phase::Releasing { .. });
        if self.state.slot.renew(&claim) == Fence::Fenced && !is_releasing {
            self.state.slot.claim(&claim);
        }
    }

    fn crash(&mut self, index: usize) {
        self.state.faults.crashes -= 1;
        self.state.requests[index].later = None;
        self.go(index, Phase::Crashed);
        for client in &mut self.state.clients {
            if client.doing == Doing::Sent(u8::try_from(index).expect("there are few requests")) {
                client.doing = Doing::Trying { after: None };
            }
        }
    }

    pub(crate) fn go(&mut self, index: usize, phase: Phase) {
        self.state.requests[index].phase = phase;
    }

    /// Answers a request that can only be answered.
    pub(crate) fn tell_decided(&mut self, index: usize, decided: Decided) {
        match decided {
            Decided::Tell(told) => self.tell(index, told),
            Decided::Wait | Decided::TakeOver => self.state.break_rule(Rule::Overstepped),
        }
    }

    /// Answers a request, and the client if it still listens.
    pub(crate) fn tell(&mut self, index: usize, told: Told) {
        self.tell_of(index, told, self.state.epoch);
    }

    /// Tells what was found in this epoch.
    fn tell_of(&mut self, index: usize, told: Told, since: u8) {
        self.go(index, Phase::Over);
        let request = self.state.requests[index];
        let client = usize::from(request.client);
        if self.state.clients[client].doing
            != Doing::Sent(u8::try_from(index).expect("there are few requests"))
        {
            return;
        }
        judge::answer(self.configuration, &mut self.state, &request, (told, since));
        let in_the_way = match (told, self.state.slot) {
            (Told::InFlight, Slot::Running { owner, .. }) => Some(owner),
            _ => None,
        };
        let client = &mut self.state.clients[client];
        client.doing = if told.is_certain() {
            client.told = Some((told, since));
            Doing::Settled
        } else {
            Doing::Trying { after: in_the_way }
        };
    }
}
