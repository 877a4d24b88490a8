//! Asking what became of a lost run, under the claim that took its place.

use std::{pin::pin, sync::Arc};

use super::{
    Answer, Begun, RunGuard,
    lease::{renewal, renewing, still_held},
    settle,
};
use crate::{
    core::{policy::OnLost, problem::Problem},
    event::Outcome,
    execution::Claimed,
    reconcile::{LostRun, Reconciled},
};

/// Asks the application, if it can be asked, and goes on as it says.
pub(super) async fn reconcile(guard: RunGuard, caller: Option<String>) -> Begun {
    let state = Arc::clone(&guard.state);
    let inner = &state.runtime.0;
    let Claimed { policy, claim, key } = state.claimed();
    let reconciled = match &inner.settings.reconciler {
        None => Reconciled::Unknown,
        Some(ask) => {
            let lost = LostRun {
                operation: state.target.operation(policy).concat(),
                record: claim.id.short_hash(),
                key: key.as_str().map(str::to_owned),
                caller,
            };
            renewing(renewal(&state), pin!(ask(lost))).await
        }
    };
    match (reconciled, inner.on_lost(policy)) {
        (Reconciled::Done(response), _) => {
            let answer = settle::record(guard, response, Outcome::Reconciled).await;
            Begun::Answer(answer)
        }
        (Reconciled::NotDone, _) | (Reconciled::Unknown, OnLost::Rerun) => {
            // It may have taken long to find out.
            still_held(guard).await
        }
        (Reconciled::Unknown, OnLost::Refuse) => {
            // Lost again; and nothing has run that could be called abandoned.
            inner.store.abandon(claim);
            guard.forget();
            state.report(policy, Some(claim.id.short_hash()), Outcome::OutcomeUnknown);
            Begun::Answer(Answer::Refuse(state.render(&Problem::OutcomeUnknown)))
        }
    }
}
