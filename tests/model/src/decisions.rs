//! The decisions, which are the runtime's own: the three questions of [`protocol`].

use idempotent_runtime::{
    Claim, Key, OnLost, Problem, RecordId, Scope,
    protocol::{self, Ask, Conclusion, Decision, Ending, Found, May, Request, ScopeAnswer},
};

use crate::{
    configuration::Configuration,
    state::Told,
    store::{Outcome, Owner, Payload, fingerprint, token},
};

/// What is to be done about a claim that was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decided {
    Tell(Told),
    Wait,
    TakeOver,
}

/// First question.
pub(crate) fn ask(configuration: &Configuration, payload: Payload) -> RecordId {
    let request = Request {
        namespace: "",
        operation: &["POST", " ", "/payments"],
        key: Some(Key::from_header(b"order-1")),
        scope: ScopeAnswer::Known(Scope::global()),
        fingerprint: fingerprint(payload),
    };
    match protocol::ask(&configuration.policy, request) {
        Ask::Claim(id, _) => id,
        other => panic!("a request with a key asks for its claim, and not {other:?}"),
    }
}

/// The claim that is asked for.
pub(crate) fn claim(
    configuration: &Configuration,
    id: RecordId,
    owner: Owner,
    payload: Payload,
    takes_over: bool,
) -> Claim {
    let mut claim = Claim::new(id, token(owner), fingerprint(payload));
    claim.on_lost = configuration.kept_on_lost;
    claim.takes_over = takes_over;
    claim
}

/// Second question, of a request that may still wait or not.
pub(crate) fn decide(
    configuration: &Configuration,
    claim: &Claim,
    found: Found,
    may_wait: bool,
) -> Decided {
    let may = May {
        wait: may_wait,
        take_over: configuration.policy.on_lost == OnLost::Rerun,
    };
    told(protocol::decide(claim, found, may))
}

/// Second question, of a run in whose place another was found: it may neither wait nor take over.
pub(crate) fn decide_fenced(claim: &Claim, found: Found) -> Decided {
    told(protocol::decide(claim, found, May::default()))
}

/// Third question: whether there is an outcome to be recorded.
pub(crate) fn is_outcome(configuration: &Configuration, ending: Ending) -> bool {
    protocol::conclude(&configuration.policy, ending) == Conclusion::Complete
}

fn told(decision: Decision) -> Decided {
    Decided::Tell(match decision {
        Decision::Replay(response) => Told::Outcome(Outcome::of(&response)),
        Decision::Wait => return Decided::Wait,
        Decision::TakeOver => return Decided::TakeOver,
        Decision::Refuse(Problem::KeyReused) => Told::Reused,
        Decision::Refuse(Problem::OutcomeUnknown) => Told::Unknown,
        Decision::Refuse(Problem::InFlight { .. }) => Told::InFlight,
        Decision::Refuse(other) => panic!("nothing in this model is a reason for {other:?}"),
    })
}
