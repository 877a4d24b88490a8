//! Keeping a claim alive beside its run.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
};

use tokio::time::{sleep, timeout};

use crate::{execution::RunState, store::Fence};

/// What renews the lease of a run, where the store needs one.
pub(super) fn renewal(state: &Arc<RunState>) -> Option<Pin<Box<impl Future<Output = ()> + use<>>>> {
    let needs_lease = state.runtime.0.store.needs_lease();
    needs_lease.then(|| Box::pin(renew(Arc::clone(state))))
}

/// Drives a run, and renews its lease beside it.
pub(super) async fn renewing<T>(
    mut renewal: Option<Pin<Box<impl Future<Output = ()>>>>,
    mut run: Pin<&mut impl Future<Output = T>>,
) -> T {
    poll_fn(|context| {
        let poll = run.as_mut().poll(context);
        if poll.is_pending()
            && let Some(renewing) = &mut renewal
            && renewing.as_mut().poll(context).is_ready()
        {
            renewal = None;
        }
        poll
    })
    .await
}

/// Renews a lease for as long as there is one.
///
/// A renewal that fails or does not answer is tried again soon: several times before the lease
/// ends.
async fn renew(state: Arc<RunState>) {
    let claim = state.claimed().claim;
    let (regular, soon) = (claim.lease / 3, claim.lease / 12);
    let mut pause = regular;
    loop {
        sleep(pause).await;
        let renewal = state.runtime.0.store.renew(claim);
        pause = match timeout(regular, renewal).await {
            Ok(Ok(Fence::Passed)) => regular,
            // Not lost, but ended by this very run.
            Ok(Ok(Fence::Fenced)) if state.is_ending() => return,
            Ok(Ok(Fence::Fenced)) => return state.report_fenced(),
            Ok(Err(error)) => {
                tracing::warn!(
                    record = %claim.id.short_hash(),
                    error = &error as &dyn std::error::Error,
                    "a lease could not be renewed and will be tried again",
                );
                soon
            }
            Err(_) => {
                tracing::warn!(
                    record = %claim.id.short_hash(),
                    "the store did not answer a renewal in time; it will be tried again",
                );
                soon
            }
        };
    }
}
