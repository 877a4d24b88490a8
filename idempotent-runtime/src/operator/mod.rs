//! What an operator does: look a record up, forget it, complete it by hand, list claims, switch
//! protection off.

#[cfg(any(feature = "axum", feature = "actix"))]
pub(crate) mod admin;
mod complete;
mod error;
mod switch;

use std::time::Duration;

pub use self::error::OperatorError;
pub(crate) use self::switch::Switch;
use crate::{
    core::{key::Key, record::RecordId, scope::Scope},
    event::Outcome,
    observation::Operation,
    runtime::Idempotency,
    store::{Cursor, Forget, Forgotten, Inspect, Inspection, Listing, Page, Which},
};

/// The most claims that a page of a listing has.
const LONGEST_PAGE: usize = 1000;

/// Look up and act. Each of these is logged with the record's short hash, and never with the key or
/// the scope's value; none of them costs a request anything.
///
/// `operation` is the method and the route pattern (`"POST /payments"`), or the attribute's
/// `operation = "…"`. `scope` is [`Scope::global`], [`Scope::named`] for `scope = "user"`, or
/// [`Scope::expression`] for `scope = user.id`. `key` is what the client sends, bare or quoted, or
/// a [`Key`]. The runtime must have the namespace of the one that made the record.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use idempotent_runtime::{Idempotency, MemoryStore, OperatorError, Scope};
///
/// let idempotency = Idempotency::builder(MemoryStore::default()).build();
/// let alice = Scope::named("user", "alice".to_owned());
/// let found = idempotency.inspect("POST /payments", &alice, "order-1").await;
/// assert!(matches!(found, Err(OperatorError::NotFound)));
/// # }
/// ```
///
/// A call whose future is dropped has happened entirely or not at all.
impl Idempotency {
    /// The id of a record: what listings name it by.
    ///
    /// # Errors
    ///
    /// [`OperatorError::KeyInvalid`].
    pub fn record_id<K>(
        &self,
        operation: &str,
        scope: &Scope,
        key: K,
    ) -> Result<RecordId, OperatorError>
    where
        K: TryInto<Key>,
        K::Error: Into<OperatorError>,
    {
        let key = key.try_into().map_err(Into::into)?;
        Ok(RecordId::new(
            &self.0.settings.namespace,
            &[operation],
            scope,
            &key,
        ))
    }

    /// What is under a key: a claim that runs or was lost, or a record. Changes nothing.
    ///
    /// The recorded response is in what this gives; neither logs nor `Debug` show it.
    ///
    /// # Errors
    ///
    /// [`OperatorError`]; `NotFound` where nothing is there.
    pub async fn inspect<K>(
        &self,
        operation: &str,
        scope: &Scope,
        key: K,
    ) -> Result<Inspection, OperatorError>
    where
        K: TryInto<Key>,
        K::Error: Into<OperatorError>,
    {
        let id = self.record_id(operation, scope, key)?;
        self.inspect_id_of(operation, &id).await
    }

    /// As [`inspect`](Self::inspect), of a record whose id is known.
    ///
    /// # Errors
    ///
    /// [`OperatorError`].
    pub async fn inspect_id(&self, id: &RecordId) -> Result<Inspection, OperatorError> {
        self.inspect_id_of("", id).await
    }

    /// Makes the key free: the next request with it runs the handler. For a lost claim that is known
    /// not to have had its effect, with [`Forget::Lost`]: if its run has come to its end since
    /// somebody looked, its record stays, and this is [`OperatorError::AlreadyDone`].
    ///
    /// A record is forgotten only with [`Forget::EvenDone`]: then **a retry has the effect once
    /// more**. A claim that runs is forgotten only with [`Forget::EvenRunning`]: then **a second run
    /// may begin beside the first**, whose effect is not undone. A run that goes on claims its key
    /// again when it renews its lease, if nobody has done so by then: also one that had committed its
    /// outcome.
    ///
    /// # Errors
    ///
    /// [`OperatorError`]; `NotFound` where nothing is there.
    pub async fn forget<K>(
        &self,
        operation: &str,
        scope: &Scope,
        key: K,
        forget: Forget,
    ) -> Result<(), OperatorError>
    where
        K: TryInto<Key>,
        K::Error: Into<OperatorError>,
    {
        let id = self.record_id(operation, scope, key)?;
        self.forget_id_of(operation, &id, forget).await
    }

    /// As [`forget`](Self::forget), of a record whose id is known.
    ///
    /// # Errors
    ///
    /// [`OperatorError`].
    pub async fn forget_id(&self, id: &RecordId, forget: Forget) -> Result<(), OperatorError> {
        self.forget_id_of("", id, forget).await
    }

    /// Lost claims that must not run again (`on_lost = "refuse"`), those of all applications in the
    /// store: a page of at most about `limit` (1 to 1000), behind where the page before ended. A
    /// page may be empty and still have a [next](Page::next) one.
    ///
    /// ```
    /// # use idempotent_runtime::{Idempotency, MemoryStore, OperatorError};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), OperatorError> {
    /// # let idempotency = Idempotency::builder(MemoryStore::default()).build();
    /// let mut after = None;
    /// loop {
    ///     let page = idempotency.lost(after, 100).await?;
    ///     for claim in page.claims {
    ///         println!("{} {:?}", claim.id, claim.state);
    ///     }
    ///     after = page.next;
    ///     if after.is_none() { break }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`OperatorError`]; `Unsupported` also for a cursor that another store has given.
    pub async fn lost(&self, after: Option<Cursor>, limit: usize) -> Result<Page, OperatorError> {
        self.list(Which::Lost, after, limit).await
    }

    /// Claims that run, and were granted at least so long ago; otherwise as [`lost`](Self::lost).
    /// Those of which the store does not know since when they run are left out.
    ///
    /// # Errors
    ///
    /// [`OperatorError`].
    pub async fn running_longer_than(
        &self,
        duration: Duration,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, OperatorError> {
        self.list(Which::RunningFor(duration), after, limit).await
    }

    async fn inspect_id_of(
        &self,
        operation: &str,
        id: &RecordId,
    ) -> Result<Inspection, OperatorError> {
        let found = self.inspectable()?.inspect(id).await;
        let state = match &found {
            Ok(Some(found)) => found.state.name(),
            Ok(None) => "absent",
            Err(_) => "not known",
        };
        tracing::info!(
            operation,
            record = %id.short_hash(),
            act = "inspect",
            state,
            "an operator looked at a record",
        );
        found?.ok_or(OperatorError::NotFound)
    }

    async fn forget_id_of(
        &self,
        operation: &str,
        id: &RecordId,
        forget: Forget,
    ) -> Result<(), OperatorError> {
        let outcome = match self.inspectable()?.forget(id, forget).await {
            Ok(Forgotten::Removed) => Ok(()),
            Ok(Forgotten::Absent) => Err(OperatorError::NotFound),
            Ok(Forgotten::Running) => Err(OperatorError::StillRunning),
            Ok(Forgotten::Done) => Err(OperatorError::AlreadyDone),
            Err(error) => Err(OperatorError::from(error)),
        };
        tracing::warn!(
            operation,
            record = %id.short_hash(),
            act = "forget",
            ?forget,
            outcome = %told(&outcome),
            "an operator told the store to forget a record",
        );
        outcome?;
        let record = Some(id.short_hash());
        let operation = Operation::ActedOn(operation);
        self.0.report(operation, record, Outcome::Forgotten, None);
        Ok(())
    }

    async fn list(
        &self,
        which: Which,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, OperatorError> {
        let listing = Listing {
            which,
            after,
            limit: limit.clamp(1, LONGEST_PAGE),
        };
        let page = self.inspectable()?.list(&listing).await;
        tracing::info!(
            act = "list",
            ?which,
            claims = page.as_ref().ok().map(|page| page.claims.len()),
            "an operator listed claims",
        );
        Ok(page?)
    }

    fn inspectable(&self) -> Result<&dyn Inspect, OperatorError> {
        self.0.store.as_inspect().ok_or(OperatorError::Unsupported)
    }
}

/// What is logged of an act: what its error says, and nothing of its source.
fn told<T>(outcome: &Result<T, OperatorError>) -> String {
    match outcome {
        Ok(_) => "carried out".to_owned(),
        Err(error) => error.to_string(),
    }
}
