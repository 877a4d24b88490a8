//! Recording an outcome that was found out by hand.

use std::time::Duration;

use crate::{
    any_store::CompleteError,
    core::{
        key::Key,
        policy::OnLost,
        protocol::Found,
        record::{Claim, RecordId},
        response::StoredResponse,
        scope::Scope,
    },
    event::Outcome,
    observation::Operation,
    operator::{OperatorError, told},
    runtime::{Idempotency, Inner},
    store::{ClaimAnswer, Completion, RecordState},
};

/// How long the claim of an outcome is believed that is recorded at once: it stands in the way of
/// the next attempt when the store fails in between.
const LEASE: Duration = Duration::from_secs(10);

impl Idempotency {
    /// Records the outcome of a lost run, which somebody has found out: from then on requests with
    /// the key are answered with this response, as a replay, for as long as the lost claim said.
    ///
    /// Only for a lost claim (`on_lost = "refuse"`): what was asked for under the key is known from
    /// it. It takes the lost claim's place as a request would, so that of an operator, another one
    /// and a request that is asking the application at the same time one wins.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # use idempotent_runtime::{Idempotency, MemoryStore, OperatorError, Scope, StoredResponse};
    /// # let idempotency = Idempotency::builder(MemoryStore::default()).build();
    /// let json: [(&str, &[u8]); 1] = [("content-type", b"application/json")];
    /// let response = StoredResponse::new(201, &json, br#"{"id": 7}"#);
    /// let alice = Scope::named("user", "alice".to_owned());
    /// let done = idempotency.complete_with("POST /payments", &alice, "order-1", &response).await;
    /// assert!(matches!(done, Err(OperatorError::NotFound)));
    /// # }
    /// ```
    ///
    /// If the future is dropped, the outcome is recorded or the claim is lost as before, in a store
    /// with leases when the one of this call has ended, after ten seconds at most.
    ///
    /// # Errors
    ///
    /// [`OperatorError`]; `NotFound`, `StillRunning` and `AlreadyDone` where no claim is lost.
    pub async fn complete_with<K>(
        &self,
        operation: &str,
        scope: &Scope,
        key: K,
        response: &StoredResponse,
    ) -> Result<(), OperatorError>
    where
        K: TryInto<Key>,
        K::Error: Into<OperatorError>,
    {
        let id = self.record_id(operation, scope, key)?;
        self.complete_id_of(operation, &id, response).await
    }

    /// As [`complete_with`](Self::complete_with), for a record whose id is known.
    ///
    /// # Errors
    ///
    /// [`OperatorError`].
    pub async fn complete_id_with(
        &self,
        id: &RecordId,
        response: &StoredResponse,
    ) -> Result<(), OperatorError> {
        self.complete_id_of("", id, response).await
    }

    async fn complete_id_of(
        &self,
        operation: &str,
        id: &RecordId,
        response: &StoredResponse,
    ) -> Result<(), OperatorError> {
        let outcome = self.complete_lost(id, response).await;
        tracing::warn!(
            operation,
            record = %id.short_hash(),
            act = "complete",
            status = response.status(),
            outcome = %told(&outcome),
            "an operator gave the outcome of a lost run",
        );
        outcome?;
        let record = Some(id.short_hash());
        let (operation, outcome) = (Operation::ActedOn(operation), Outcome::CompletedByHand);
        self.0.report(operation, record, outcome, None);
        Ok(())
    }

    async fn complete_lost(
        &self,
        id: &RecordId,
        response: &StoredResponse,
    ) -> Result<(), OperatorError> {
        let found = self.inspectable()?.inspect(id).await?;
        let found = found.ok_or(OperatorError::NotFound)?;
        let RecordState::Lost { since, expires_at } = found.state else {
            return Err(match found.state {
                RecordState::Done { .. } => OperatorError::AlreadyDone,
                _ => OperatorError::StillRunning,
            });
        };
        let claim = Claim {
            lease: self
                .0
                .settings
                .lease
                .map_or(LEASE, |lease| lease.min(LEASE)),
            ttl: expires_at.since(since),
            on_lost: OnLost::Refuse,
            max_response: response.body().len() as u64,
            takes_over: true,
            ..Claim::new(*id, self.0.owner(), found.fingerprint)
        };
        // From here on, because a claim whose answer is lost may have been granted.
        let mut taking = TakingOver {
            inner: &self.0,
            claim,
            is_settled: false,
        };
        let response = self.0.dated(response.clone(), claim.ttl);
        match self.0.store.claim(&claim).await? {
            ClaimAnswer::Claimed => {}
            ClaimAnswer::Found(found) => {
                taking.is_settled = true;
                return Err(in_the_way(&found));
            }
        }
        let completion = self.0.store.complete(&claim, response).await;
        let completion = completion.map_err(
            |(CompleteError::Unreadable(error) | CompleteError::Failed(error, _))| error,
        )?;
        taking.is_settled = true;
        match completion {
            Completion::Stored => Ok(()),
            Completion::Fenced(found) => Err(in_the_way(&found)),
        }
    }
}

fn in_the_way(found: &Found) -> OperatorError {
    match found {
        Found::Done { .. } => OperatorError::AlreadyDone,
        // A claim that is lost again was taken over, and is somebody else's affair.
        Found::Running { .. } | Found::Lost { .. } => OperatorError::StillRunning,
    }
}

/// A claim in a lost one's place. Dropped without an outcome, it is lost again.
struct TakingOver<'a> {
    inner: &'a Inner,
    claim: Claim,
    is_settled: bool,
}

impl Drop for TakingOver<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.inner.store.abandon(&self.claim);
        }
    }
}
