//! Everything that is, at one moment.

use std::fmt;

use crate::{
    configuration::{Configuration, Faults},
    store::{Outcome, Owner, Payload, Slot},
};

/// Everything that is, at one moment.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub(crate) slot: Slot,
    pub(crate) clients: Vec<Client>,
    pub(crate) requests: Vec<Request>,
    /// What may still go wrong.
    pub(crate) faults: Faults,
    /// How many effects there were since a record last expired.
    pub(crate) effects: u8,
    /// Which requests have made an effect, as bits.
    pub(crate) paid: u8,
    /// The record, from when it is there until its ttl ends.
    pub(crate) record: Option<Outcome>,
    /// How many records' ttls have ended.
    pub(crate) epoch: u8,
    /// The first rule that a step has broken.
    pub(crate) broken: Option<Rule>,
}

/// Somebody who wants one operation done, and sends requests until it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    pub(crate) payload: Payload,
    pub(crate) doing: Doing,
    /// What it was told for certain, and when.
    pub(crate) told: Option<(Told, u8)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Doing {
    /// About to send, as soon as this run is over, if it knows of one.
    Trying {
        after: Option<Owner>,
    },
    /// Waiting for the answer to this request.
    Sent(u8),
    Settled,
}

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Told {
    /// What came of the operation, as a first answer or as a replay.
    Outcome(Outcome),
    /// 422 `key-reused`.
    Reused,
    /// 409 `outcome-unknown`.
    Unknown,
    /// 409 `in-flight`.
    InFlight,
    /// 503, whoever says so.
    Unavailable,
}

impl Told {
    pub(crate) fn is_certain(self) -> bool {
        !matches!(self, Self::InFlight | Self::Unavailable)
    }
}

/// A request, at the server that it was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    pub(crate) client: u8,
    pub(crate) payload: Payload,
    /// How often it has asked for a claim.
    pub(crate) asked: u8,
    pub(crate) phase: Phase,
    /// What goes on when it is answered.
    pub(crate) later: Option<Later>,
    /// The record that was there when it was sent, and since when.
    pub(crate) expects: Option<(Outcome, u8)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// The claim is on its way to the store.
    Claiming {
        takes_over: bool,
        may_wait: bool,
    },
    /// The claim was granted, and that is on its way back.
    Granted,
    /// The claim was not granted, because of this, and that is on its way back.
    Denied {
        found: Slot,
        may_wait: bool,
        /// How many records' ttls had ended then.
        epoch: u8,
    },
    /// Waiting for the end of this run.
    Waiting {
        run: Owner,
    },
    /// The handler has not made its effect yet.
    Running,
    /// There is an outcome, and the store is about to be told.
    Completing {
        outcome: Outcome,
    },
    /// Nothing has happened, or (`in_doubt`) nobody knows whether the transaction was committed.
    Releasing {
        in_doubt: bool,
    },
    Over,
    Crashed,
}

/// What is tried again in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Later {
    Complete(Outcome),
    Release,
}

/// What a step can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rule {
    /// A stale owner, a waiter or a retry has ended somebody's claim.
    ClaimTaken,
    /// A record was changed before its ttl ended.
    RecordChanged,
    /// Another payload was answered with anything but 422, or the same with 422.
    PayloadMistaken,
    /// A retry got another answer than the record.
    RetryMisled,
    /// A client was told two things for certain.
    ToldDifferently,
    /// A client was told of an effect that was not made.
    Lost,
    /// A request was to wait or to take over, and may not.
    Overstepped,
    /// What says "not done, try again" was recorded.
    RefusalRecorded,
}

impl State {
    pub(crate) fn new(configuration: &Configuration) -> Self {
        let client = |payload: &Payload| Client {
            payload: *payload,
            doing: Doing::Trying { after: None },
            told: None,
        };
        Self {
            slot: Slot::Absent,
            clients: configuration.payloads.iter().map(client).collect(),
            requests: Vec::new(),
            faults: configuration.faults,
            effects: 0,
            paid: 0,
            record: None,
            epoch: 0,
            broken: None,
        }
    }

    pub(crate) fn break_rule(&mut self, rule: Rule) {
        self.broken.get_or_insert(rule);
    }

    pub(crate) fn is_settled(&self) -> bool {
        let mut clients = self.clients.iter();
        clients.all(|client| client.doing == Doing::Settled)
    }
}

impl Request {
    /// Whether anybody is at work on it.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.phase, Phase::Over | Phase::Crashed) || self.later.is_some()
    }

    /// Whether its handler has been started and is not settled.
    pub(crate) fn is_run(&self) -> bool {
        matches!(
            self.phase,
            Phase::Running | Phase::Completing { .. } | Phase::Releasing { .. }
        )
    }
}

/// A request's index and how often it has asked, as one number.
pub(crate) fn owner(request: usize, asked: u8) -> Owner {
    u8::try_from(request).expect("there are few requests") * 8 + asked
}

/// Whose owner this is.
pub(crate) fn request_of(owner: Owner) -> usize {
    usize::from(owner / 8)
}

impl fmt::Debug for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:?}, effects {}, broken {:?}",
            self.slot, self.effects, self.broken
        )?;
        for client in &self.clients {
            writeln!(formatter, "  {client:?}")?;
        }
        for request in &self.requests {
            writeln!(formatter, "  {request:?}")?;
        }
        Ok(())
    }
}
