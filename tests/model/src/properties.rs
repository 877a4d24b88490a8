//! What must be true of every state, and what must be true of some.

use stateright::{Model, Property};

use crate::{
    Protocol, decisions, engine,
    state::{Request, Rule, State, owner},
    steps,
};
use idempotent_runtime::store::Fence;

impl Model for Protocol {
    type State = State;
    type Action = steps::Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(&self.configuration)]
    }

    fn actions(&self, state: &State, steps: &mut Vec<steps::Step>) {
        // What comes after a broken rule tells nothing more.
        if state.broken.is_none() {
            steps::possible(&self.configuration, state, steps);
        }
    }

    fn next_state(&self, before: &State, step: steps::Step) -> Option<State> {
        engine::take(&self.configuration, self.id, before, step)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("at most one owner is not fenced", at_most_one_owner),
            Property::always(
                "a claim is ended by its owner or its lease",
                |_, state: &State| state.broken != Some(Rule::ClaimTaken),
            ),
            Property::always("done is final until its ttl ends", |_, state: &State| {
                state.broken != Some(Rule::RecordChanged)
            }),
            Property::always(
                "another payload is told 422 and nothing else",
                |_, state: &State| state.broken != Some(Rule::PayloadMistaken),
            ),
            Property::always("a retry gets the record", |_, state: &State| {
                state.broken != Some(Rule::RetryMisled)
            }),
            Property::always("no client is told two outcomes", |_, state: &State| {
                state.broken != Some(Rule::ToldDifferently)
            }),
            Property::always("what a client is told has happened", |_, state: &State| {
                state.broken != Some(Rule::Lost)
            }),
            Property::always(
                "nobody waits or takes over who may not",
                |_, state: &State| state.broken != Some(Rule::Overstepped),
            ),
            Property::always("what says try again is not recorded", |_, state: &State| {
                state.broken != Some(Rule::RefusalRecorded)
            }),
            Property::always("whoever asks again is answered in the end", is_answered),
            Property::sometimes("an effect, and a client that knows", |_, state: &State| {
                state.effects > 0 && state.is_settled()
            }),
        ];
        properties.push(if self.configuration.is_exact() {
            Property::always("no effect is made twice", |_, state: &State| {
                state.effects <= 1
            })
        } else {
            // That the model finds it shows that it looks where it can happen.
            Property::sometimes("an effect is made twice", |_, state: &State| {
                state.effects > 1
            })
        });
        properties
    }
}

/// Of all handlers that have not come to an end, one at most holds the claim.
fn at_most_one_owner(model: &Protocol, state: &State) -> bool {
    let holds = |(index, request): (usize, &Request)| {
        let claim = decisions::claim(
            &model.configuration,
            model.id,
            owner(index, request.asked),
            request.payload,
            false,
        );
        request.is_run() && state.slot.clone().renew(&claim) == Fence::Passed
    };
    state
        .requests
        .iter()
        .enumerate()
        .filter(|it| holds(*it))
        .count()
        <= 1
}

/// When nothing can happen any more, every client knows, unless it had no request left to ask with.
fn is_answered(model: &Protocol, state: &State) -> bool {
    if state.is_settled() || state.broken.is_some() {
        return true;
    }
    if state.requests.len() == model.configuration.requests {
        return true;
    }
    let mut next = Vec::new();
    steps::possible(&model.configuration, state, &mut next);
    next.into_iter()
        .any(|step| engine::take(&model.configuration, model.id, state, step).is_some())
}
