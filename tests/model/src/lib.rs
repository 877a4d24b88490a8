//! The protocol in a model checker: every order in which the requests of several clients, the
//! faults of servers and the answers of a store can come, up to a bound.
//!
//! What is decided is decided by [`idempotent_runtime::protocol`] itself. What carries it out, the
//! engine and a store with leases, is modelled here.

mod configuration;
mod decisions;
mod engine;
mod handler;
mod judge;
mod properties;
mod state;
mod steps;
mod store;

use idempotent_runtime::RecordId;

pub use self::{
    configuration::{Configuration, Effect, Faults, Size, configurations},
    state::State,
    steps::{Deed, Fate, Step},
};

/// What is checked: one configuration.
#[derive(Clone, Debug)]
pub struct Protocol {
    configuration: Configuration,
    id: RecordId,
}

impl Protocol {
    /// The model of this configuration.
    #[must_use]
    pub fn new(configuration: Configuration) -> Self {
        let id = decisions::ask(&configuration, configuration.payloads[0]);
        Self { configuration, id }
    }
}
