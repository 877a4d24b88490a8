//! The guard that stands for a claim as long as it is held.

use std::sync::Arc;

use crate::{
    any_store::AnyStore,
    core::record::Claim,
    event::Outcome,
    execution::{Claimed, RunState},
    runtime::Running,
};

/// A claim that is held. Dropped without an outcome, it is abandoned.
pub(crate) struct RunGuard {
    pub(super) state: Arc<RunState>,
    _running: Running,
    /// Whether the store knows the outcome, or must not be told that there is none.
    settled: bool,
}

impl RunGuard {
    pub(super) fn new(state: Arc<RunState>) -> Self {
        Self {
            _running: state.runtime.0.running(),
            state,
            settled: false,
        }
    }

    /// From here on the claim is not abandoned, whatever happens.
    pub(super) fn set_settled(&mut self) {
        self.settled = true;
    }

    /// Lets go of the claim without a word to the store.
    pub(super) fn forget(mut self) {
        self.settled = true;
    }

    pub(super) fn claim(&self) -> Claim {
        self.state.claimed().claim
    }

    pub(super) fn store(&self) -> &dyn AnyStore {
        &*self.state.runtime.0.store
    }

    pub(super) fn report(&self, outcome: Outcome) {
        let Claimed { policy, claim, .. } = self.state.claimed();
        self.state
            .report(policy, Some(claim.id.short_hash()), outcome);
    }
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        // What was committed has happened, and is not to be done again.
        if !self.settled && !self.state.may_be_committed() {
            self.store().abandon(&self.claim());
            self.report(Outcome::Abandoned);
        }
    }
}
