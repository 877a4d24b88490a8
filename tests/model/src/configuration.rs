//! What is tried: how the effect is made, what the policy says, and how much may go wrong.

use std::time::Duration;

use idempotent_runtime::{
    FingerprintPolicy, KeyPolicy, OnLost, Policy, ScopePolicy, StatusSet, StoreDown,
};

/// How a handler makes its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// By itself, and the record follows.
    Plain,
    /// In one transaction with the record (`commit_in`).
    CommitIn,
}

/// How often something may go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// A server ends, with all that it was doing for a request.
    pub crashes: u8,
    /// A verb does not reach the store, or is carried out and its answer is lost.
    pub losses: u8,
    /// A lease ends although its owner is alive: it stood still, or could not renew.
    pub lapses: u8,
    /// A client gives up on an answer, and its request goes on.
    pub hang_ups: u8,
    /// A handler finds that it can do nothing, and answers 503.
    pub refusals: u8,
    /// A record's ttl ends.
    pub expiries: u8,
}

/// One space of states.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// What it is called.
    pub name: &'static str,
    /// How the effect is made.
    pub effect: Effect,
    /// The handler's policy.
    pub policy: Policy,
    /// What the store keeps of `on_lost`: another one than the policy's where somebody is asked
    /// what became of a lost run, or where the attribute was changed.
    pub kept_on_lost: OnLost,
    /// What each client sends under the one key.
    pub payloads: &'static [u8],
    /// How many requests there are in all.
    pub requests: usize,
    /// What may go wrong.
    pub faults: Faults,
}

impl Configuration {
    /// Whether no effect may be made twice, whatever goes wrong.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.effect == Effect::CommitIn
            || self.kept_on_lost == OnLost::Refuse && self.policy.on_lost == OnLost::Refuse
            || self.faults.crashes == 0 && self.faults.lapses == 0
    }
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Seconds.
    Small,
    /// Minutes.
    Large,
}

/// All that is checked.
#[must_use]
pub fn configurations(size: Size) -> Vec<Configuration> {
    let faults = Faults {
        crashes: 1,
        losses: 1,
        lapses: 1,
        hang_ups: 1,
        refusals: 1,
        expiries: 0,
    };
    let requests = match size {
        Size::Small => 3,
        Size::Large => 4,
    };
    let base = Configuration {
        name: "commit-in, rerun",
        effect: Effect::CommitIn,
        policy: policy(OnLost::Rerun, false),
        kept_on_lost: OnLost::Rerun,
        payloads: &[1, 1],
        requests,
        faults,
    };
    vec![
        base.clone(),
        Configuration {
            name: "commit-in, rerun, wait",
            policy: policy(OnLost::Rerun, true),
            ..base.clone()
        },
        Configuration {
            name: "commit-in, refuse kept, rerun now",
            kept_on_lost: OnLost::Refuse,
            ..base.clone()
        },
        Configuration {
            name: "plain, refuse",
            effect: Effect::Plain,
            policy: policy(OnLost::Refuse, false),
            kept_on_lost: OnLost::Refuse,
            ..base.clone()
        },
        Configuration {
            name: "plain, refuse, wait",
            effect: Effect::Plain,
            policy: policy(OnLost::Refuse, true),
            kept_on_lost: OnLost::Refuse,
            ..base.clone()
        },
        Configuration {
            name: "plain, rerun",
            effect: Effect::Plain,
            ..base.clone()
        },
        Configuration {
            name: "plain, rerun, nobody is lost",
            effect: Effect::Plain,
            faults: Faults {
                crashes: 0,
                lapses: 0,
                ..faults
            },
            ..base.clone()
        },
        Configuration {
            name: "commit-in, rerun, ttl ends",
            faults: Faults {
                expiries: 1,
                refusals: 0,
                ..faults
            },
            ..base.clone()
        },
        Configuration {
            name: "commit-in, rerun, two payloads",
            payloads: &[1, 2],
            ..base.clone()
        },
        Configuration {
            name: "plain, refuse, two payloads, wait",
            effect: Effect::Plain,
            policy: policy(OnLost::Refuse, true),
            kept_on_lost: OnLost::Refuse,
            payloads: &[1, 2],
            ..base
        },
    ]
}

fn policy(on_lost: OnLost, waits: bool) -> Policy {
    Policy {
        operation: None,
        scope: ScopePolicy::Global,
        key: KeyPolicy::Required,
        fingerprint: FingerprintPolicy::Request,
        ttl: Duration::from_hours(24),
        wait: waits.then_some(Duration::from_secs(5)),
        lease: Duration::from_secs(30),
        on_lost,
        release_on: StatusSet(&[(429, 429), (503, 503)]),
        store_down: StoreDown::Refuse,
        max_response: 1024,
    }
}
