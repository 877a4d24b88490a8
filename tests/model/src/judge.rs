//! Which rule a step has broken, if any.

use crate::{
    configuration::Configuration,
    handler::{PAID, REFUSAL},
    state::{Request, Rule, State, Told, request_of},
    steps::Step,
    store::Slot,
};

/// Finds what the step has done to the slot that nobody may do.
pub(crate) fn step(state: &mut State, before: &State, step: Step) {
    match before.slot {
        Slot::Running {
            owner: run,
            is_over: false,
            ..
        } if step.request() != Some(request_of(run)) => {
            let is_kept = matches!(state.slot, Slot::Running { owner, .. } if owner == run);
            if !is_kept {
                state.break_rule(Rule::ClaimTaken);
            }
        }
        Slot::Done { .. } if state.slot != before.slot && step != Step::Expire => {
            state.break_rule(Rule::RecordChanged);
        }
        _ => {}
    }
    state.record = match state.slot {
        Slot::Done { outcome, .. } => Some(outcome),
        _ => None,
    };
    if state
        .record
        .is_some_and(|outcome| outcome.status == REFUSAL)
    {
        state.break_rule(Rule::RefusalRecorded);
    }
}

/// Finds what is wrong with an answer, and with what is known since this epoch.
pub(crate) fn answer(
    configuration: &Configuration,
    state: &mut State,
    request: &Request,
    (told, since): (Told, u8),
) {
    if let Told::Outcome(outcome) = told {
        let by = request_of(outcome.by);
        if outcome.status == PAID && state.paid & (1 << by) == 0 {
            state.break_rule(Rule::Lost);
        }
        if state.requests[by].payload != request.payload {
            state.break_rule(Rule::PayloadMistaken);
        }
    }
    if let Some((record, epoch)) = request.expects
        && epoch == state.epoch
        && !matches!(told, Told::Reused | Told::Unavailable)
        && told != Told::Outcome(record)
    {
        state.break_rule(Rule::RetryMisled);
    }
    let before = state.clients[usize::from(request.client)].told;
    if let (Some((Told::Outcome(first), epoch)), Told::Outcome(second)) = (before, told)
        && epoch == since
        && first != second
        && configuration.is_exact()
    {
        state.break_rule(Rule::ToldDifferently);
    }
}
