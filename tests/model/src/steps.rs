//! What can happen next, and what it changes.

use crate::{
    configuration::{Configuration, Effect},
    state::{Doing, Later, Phase, State, owner, request_of},
    store::Slot,
};

/// Something that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A client sends its request, for the first time or again.
    Send(usize),
    /// A client gives up on an answer.
    HangUp(usize),
    /// The verb that a request is about to use.
    Verb(usize, Fate),
    /// The answer to a claim arrives.
    Answer(usize),
    /// A request that waits asks again, because the run has ended or (`false`) because it may not
    /// wait any longer.
    AskAgain(usize, bool),
    /// A handler comes to its end.
    Handle(usize, Deed, Fate),
    /// What is tried again in the background.
    Background(usize, Fate),
    /// A run renews its lease, or asks for its claim again.
    Renew(usize),
    /// A server ends.
    Crash(usize),
    /// The running claim's lease ends.
    LeaseEnds,
    /// The record's ttl ends.
    Expire,
}

/// What becomes of a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is carried out and answered.
    Answered,
    /// It is carried out, and its answer is lost.
    AnswerLost,
    /// It does not reach the store.
    NotSent,
}

/// What a handler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Makes its effect and answers 201.
    Pay,
    /// Makes its effect and panics.
    Panic,
    /// Finds that it can do nothing, and answers 503.
    Refuse,
}

impl Step {
    /// Whose step it is, if it is a request's.
    pub(crate) fn request(self) -> Option<usize> {
        match self {
            Self::Verb(index, _)
            | Self::Answer(index)
            | Self::AskAgain(index, _)
            | Self::Handle(index, ..)
            | Self::Background(index, _)
            | Self::Renew(index)
            | Self::Crash(index) => Some(index),
            Self::Send(_) | Self::HangUp(_) | Self::LeaseEnds | Self::Expire => None,
        }
    }
}

const FATES: [Fate; 3] = [Fate::Answered, Fate::AnswerLost, Fate::NotSent];

/// All that can happen.
pub(crate) fn possible(configuration: &Configuration, state: &State, steps: &mut Vec<Step>) {
    let has_requests_left = state.requests.len() < configuration.requests;
    for (index, client) in state.clients.iter().enumerate() {
        match client.doing {
            Doing::Trying { after: Some(run) } if state.slot.is_claimed_by(run) => {}
            Doing::Trying { .. } | Doing::Settled if has_requests_left => {
                steps.push(Step::Send(index));
            }
            Doing::Sent(_) if state.faults.hang_ups > 0 => steps.push(Step::HangUp(index)),
            Doing::Trying { .. } | Doing::Settled | Doing::Sent(_) => {}
        }
    }
    for index in 0..state.requests.len() {
        possible_for(index, configuration, state, steps);
    }
    match state.slot {
        Slot::Running {
            owner: run,
            is_over: false,
            ..
        } if state.faults.lapses > 0 || !is_at_work(state, run) => steps.push(Step::LeaseEnds),
        Slot::Done { .. } if state.faults.expiries > 0 => steps.push(Step::Expire),
        _ => {}
    }
}

/// All that can happen to a request.
fn possible_for(index: usize, configuration: &Configuration, state: &State, steps: &mut Vec<Step>) {
    let State { faults, slot, .. } = state;
    let request = &state.requests[index];
    let fates = if faults.losses > 0 {
        &FATES[..]
    } else {
        &FATES[..1]
    }
    .iter()
    .copied();
    match request.phase {
        Phase::Claiming { .. } | Phase::Completing { .. } | Phase::Releasing { .. } => {
            steps.extend(fates.clone().map(|fate| Step::Verb(index, fate)));
        }
        Phase::Granted | Phase::Denied { .. } => steps.push(Step::Answer(index)),
        Phase::Waiting { run } => steps.push(Step::AskAgain(index, !slot.is_claimed_by(run))),
        Phase::Running => {
            let is_plain = configuration.effect == Effect::Plain;
            let paying = fates.clone().take(if is_plain { 1 } else { FATES.len() });
            steps.extend(paying.map(|fate| Step::Handle(index, Deed::Pay, fate)));
            if faults.refusals > 0 {
                steps.push(Step::Handle(index, Deed::Refuse, Fate::Answered));
            }
            if faults.refusals > 0 && is_plain {
                steps.push(Step::Handle(index, Deed::Panic, Fate::Answered));
            }
        }
        Phase::Over | Phase::Crashed => {}
    }
    if request.later.is_some() {
        steps.extend(fates.map(|fate| Step::Background(index, fate)));
    }
    if request.is_run() || matches!(request.later, Some(Later::Complete(_))) {
        steps.push(Step::Renew(index));
    }
    if request.is_alive() && faults.crashes > 0 {
        steps.push(Step::Crash(index));
    }
}

/// Whether anybody renews this claim, or is about to end it.
pub(crate) fn is_at_work(state: &State, run: u8) -> bool {
    let index = request_of(run);
    let request = &state.requests[index];
    request.is_alive() && owner(index, request.asked) == run
}
