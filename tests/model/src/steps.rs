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
    let faults = &state.faults;
    let fates = if faults.losses > 0 { 3 } else { 1 };
    for (index, client) in state.clients.iter().enumerate() {
        match client.doing {
            Doing::Trying { after } => {
                let is_in_the_way = |run| matches!(state.slot, Slot::Running { owner, is_over: false, .. } if owner == run);
                if state.requests.len() < configuration.requests
                    && !after.is_some_and(is_in_the_way)
                {
                    steps.push(Step::Send(index));
                }
            }
            Doing::Settled if state.requests.len() < configuration.requests => {
                steps.push(Step::Send(index));
            }
            Doing::Sent(_) if faults.hang_ups > 0 => steps.push(Step::HangUp(index)),
            Doing::Sent(_) | Doing::Settled => {}
        }
    }
    for (index, request) in state.requests.iter().enumerate() {
        let fates = FATES.iter().take(fates).copied();
        match request.phase {
            Phase::Claiming { .. } | Phase::Completing { .. } | Phase::Releasing { .. } => {
                steps.extend(fates.clone().map(|fate| Step::Verb(index, fate)));
            }
            Phase::Granted | Phase::Denied { .. } => steps.push(Step::Answer(index)),
            Phase::Waiting { run } => {
                let is_running = matches!(state.slot, Slot::Running { owner, is_over: false, .. } if owner == run);
                steps.push(Step::AskAgain(index, !is_running));
            }
            Phase::Running => {
                match configuration.effect {
                    Effect::Plain => steps.push(Step::Handle(index, Deed::Pay, Fate::Answered)),
                    Effect::CommitIn => {
                        steps.extend(
                            fates
                                .clone()
                                .map(|fate| Step::Handle(index, Deed::Pay, fate)),
                        );
                    }
                }
                if faults.refusals > 0 {
                    steps.push(Step::Handle(index, Deed::Refuse, Fate::Answered));
                    if configuration.effect == Effect::Plain {
                        steps.push(Step::Handle(index, Deed::Panic, Fate::Answered));
                    }
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
    match state.slot {
        Slot::Running {
            owner: run,
            is_over: false,
            ..
        } if faults.lapses > 0 || !is_at_work(state, run) => steps.push(Step::LeaseEnds),
        Slot::Done { .. } if faults.expiries > 0 => steps.push(Step::Expire),
        _ => {}
    }
}

/// Whether anybody renews this claim, or is about to end it.
pub(crate) fn is_at_work(state: &State, run: u8) -> bool {
    let index = request_of(run);
    let request = &state.requests[index];
    request.is_alive() && owner(index, request.asked) == run
}
