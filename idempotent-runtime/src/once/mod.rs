//! Functions that are no handlers: run once for a key, whoever calls.

mod drive;
mod error;
mod execution;
pub(crate) mod function;

use std::{borrow::Cow, convert::Infallible, fmt, fmt::Display, future::Future, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use self::{
    drive::{Failure, drive},
    execution::Ended,
};
pub use self::{error::OnceError, execution::OnceExecution};
use crate::{
    core::{
        key::{Key, KeyError},
        policy::{FingerprintPolicy, KeyPolicy, OnLost, Policy, ScopePolicy, StatusSet, StoreDown},
        scope::Scope,
    },
    runtime::{Idempotency, SHORTEST},
};

const DAY: Duration = Duration::from_hours(24);

/// The attribute's defaults, for a function.
const DEFAULT: Policy = Policy {
    operation: None,
    scope: ScopePolicy::Expression,
    key: KeyPolicy::Expression,
    fingerprint: FingerprintPolicy::None,
    ttl: DAY,
    wait: None,
    lease: Duration::from_secs(30),
    on_lost: OnLost::Rerun,
    // A value has no status.
    release_on: StatusSet(&[]),
    store_down: StoreDown::Refuse,
    max_response: 1024 * 1024,
};

impl Idempotency {
    /// Runs a function once for a key, for what is no request: a message of a queue, a job, a
    /// command. It has the claims, leases, waits and records that handlers have.
    ///
    /// * `operation` names what is done. It is part of the record's id, so it must stay the same
    ///   from release to release: a new name makes every key a new one. Two functions must not
    ///   share one.
    /// * `scope` says whose key it is: [`Scope::global`] where keys are unique by themselves, as a
    ///   message's id is; [`Scope::named`] for the keys of a customer or a tenant.
    /// * `key` names one call of the operation. Take what a redelivery has in common with the
    ///   first delivery: the event's id, not the delivery's tag.
    ///
    /// ```
    /// use idempotent_runtime::{Idempotency, MemoryStore, OnceError, Scope};
    /// # use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), OnceError> {
    /// let idempotency = Idempotency::builder(MemoryStore::default()).build();
    /// for replayed in [false, true] {
    ///     let receipt = idempotency
    ///         .once("send receipt", Scope::global(), "event-17")
    ///         .ttl(Duration::from_hours(7 * 24))
    ///         .run(async { "receipt-1".to_owned() })
    ///         .await?;
    ///     assert_eq!(receipt.value, "receipt-1");
    ///     assert_eq!(receipt.replayed, replayed);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Which of the four
    ///
    /// | | what the function returns is recorded | an `Err` releases the key |
    /// |---|---|---|
    /// | a future | [`run`](OnceBuilder::run) | [`try_run`](OnceBuilder::try_run) |
    /// | a closure that takes an [`OnceExecution`] | [`run_with`](OnceBuilder::run_with) | [`try_run_with`](OnceBuilder::try_run_with) |
    ///
    /// With `try_run` an `Err` says that **nothing has happened**: the next call runs the function
    /// again. A function that fails after its effect must not say so, or the effect comes twice:
    /// use `run`, which records a `Result` as any other value, error included; or let effect and
    /// record be one transaction, with [`OnceExecution::commit_in`].
    ///
    /// A function that panics is recorded as done without a value, because nobody can know how far
    /// it came: every later call is told [`OnceError::Panicked`].
    ///
    /// # Cancellation
    ///
    /// Dropping the future of a call does not stop a function that has started: it goes on in a
    /// task of its own, to its end, and the next call gets its value. That is why functions must be
    /// `Send` and `'static`. [`drain`](Idempotency::drain) waits for them. A call needs a tokio
    /// runtime around it.
    pub fn once(
        &self,
        operation: impl Into<Cow<'static, str>>,
        scope: Scope,
        key: impl Display,
    ) -> OnceBuilder {
        OnceBuilder {
            runtime: self.clone(),
            operation: operation.into(),
            scope,
            key: Key::from_value(&key.to_string()),
            payload: None,
            policy: DEFAULT,
        }
    }
}

/// A call that has not been made yet: see [`Idempotency::once`]. Its settings are those of the
/// attribute, with the same defaults.
#[must_use = "nothing runs before `run` or `try_run`"]
pub struct OnceBuilder {
    runtime: Idempotency,
    operation: Cow<'static, str>,
    scope: Scope,
    key: Result<Key, KeyError>,
    payload: Option<Result<serde_json::Value, serde_json::Error>>,
    policy: Policy,
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Once<T> {
    /// What the function returned, now or earlier.
    pub value: T,
    /// Whether it did so in another call than this one.
    pub replayed: bool,
    /// Whether every later call gets it. A consumer acknowledges its message, unless this is
    /// [`Recorded::Later`].
    pub recorded: Recorded,
    /// Whether the function ran in this call too, and lost its claim to the run whose value this
    /// is: this process stood still for longer than the lease, or somebody has forgotten the claim.
    /// Its effect may have happened twice, if it is not undone by a transaction that was fenced.
    pub overtaken: bool,
}

/// What became of the record of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recorded {
    /// The store has it: every later call gets the value, from whatever process.
    Yes,
    /// The function ran, and the store did not take its record yet, which is tried again for as long
    /// as this process lives. A consumer gives its message back: the next delivery gets the value.
    Later,
    /// The function released its key, or it ran without protection, because that is turned off or
    /// because the store was away and `store_down` is `run`: the next call runs it again, and so would
    /// a message that is given back.
    Never,
}

impl OnceBuilder {
    /// How long the value is kept, counted from completion: for at least as long as a message can
    /// be delivered again. 24 hours unless set; from 100 ms to 366 days, what is beyond is taken
    /// for that.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.policy.ttl = ttl.clamp(SHORTEST, 366 * DAY);
        self
    }

    /// How long to wait for a run of the same operation and key that has not ended, up to five
    /// minutes. Unless set, such a call is [`OnceError::InFlight`] at once.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.policy.wait = Some(wait.min(Duration::from_mins(5)));
        self
    }

    /// How long a run is believed without a sign of life, in a store that outlives its processes.
    /// 30 seconds unless set; from 100 ms to an hour, what is beyond is taken for that.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.policy.lease = lease.clamp(SHORTEST, Duration::from_hours(1));
        self
    }

    /// What happens when the process that ran the function is gone: run it again, which is the
    /// default, or [`OnceError::OutcomeUnknown`].
    pub fn on_lost(mut self, on_lost: OnLost) -> Self {
        self.policy.on_lost = on_lost;
        self
    }

    /// What happens while the store cannot be asked: [`OnceError::StoreUnavailable`], which is the
    /// default, or run the function without protection.
    pub fn store_down(mut self, store_down: StoreDown) -> Self {
        self.policy.store_down = store_down;
        self
    }

    /// The largest value that is kept, as bytes of JSON: 1 MiB unless set, and less than 4 GiB.
    /// After a larger one, later calls are told [`OnceError::ValueNotKept`].
    pub fn max_response(mut self, bytes: u64) -> Self {
        self.policy.max_response = bytes.clamp(1, u32::MAX.into());
        self
    }

    /// What must be the same when the key is used again; if it is not, the call is
    /// [`OnceError::KeyReused`]. Without it, whatever comes with a known key is taken for the same.
    ///
    /// It is compared by a hash and not kept. Keys that are known when a payload is added, left out
    /// or changed in form, are refused as used otherwise.
    pub fn payload(mut self, payload: &(impl Serialize + ?Sized)) -> Self {
        self.payload = Some(serde_json::to_value(payload));
        self
    }

    /// Runs the function, unless it ran before, and records what it returns: a `Result` as any
    /// other value, so that an error is replayed as well.
    ///
    /// The future is not polled before the claim is granted. If this future is dropped, see
    /// [`Idempotency::once`].
    ///
    /// # Errors
    ///
    /// [`OnceError`]: the function did not run in this call, unless it was
    /// [overtaken](OnceError::Overtaken).
    ///
    /// # Panics
    ///
    /// When the function does, and that is recorded.
    pub async fn run<T, F>(self, function: F) -> Result<Once<T>, OnceError>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.run_with(|_| function).await
    }

    /// As [`run`](Self::run), with a closure that is given the handle on its run. The closure is
    /// not called before the claim is granted.
    ///
    /// # Errors
    ///
    /// [`OnceError`]: the function did not run in this call, unless it was
    /// [overtaken](OnceError::Overtaken).
    ///
    /// # Panics
    ///
    /// When the function does, and that is recorded.
    pub async fn run_with<T, F>(
        self,
        function: impl FnOnce(OnceExecution<T>) -> F + Send + 'static,
    ) -> Result<Once<T>, OnceError>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let called = drive(self, |execution| async {
            Ended::Value(function(execution).await)
        });
        called.await.map_err(|failure| match failure {
            Failure::<Infallible>::Released(never) => match never {},
            Failure::Once(error) => error,
        })
    }

    /// Runs the function, unless it ran before, and records what it returns as `Ok`. An `Err` says
    /// that **nothing has happened**: it releases the key, and the next call runs the function
    /// again.
    ///
    /// An error type without serialisation will do. It must be one that an [`OnceError`] can
    /// become, which says that the function did not run in this call, unless it was
    /// [overtaken](OnceError::Overtaken).
    ///
    /// After a commit by an [`OnceExecution`] an `Err` releases nothing: this caller gets it, and
    /// every other call gets what was committed.
    ///
    /// # Errors
    ///
    /// What the function returned, or what an [`OnceError`] became.
    ///
    /// # Panics
    ///
    /// When the function does, and that is recorded.
    pub async fn try_run<T, E, F>(self, function: F) -> Result<Once<T>, E>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        E: From<OnceError> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.try_run_with(|_| function).await
    }

    /// As [`try_run`](Self::try_run), with a closure that is given the handle on its run. The
    /// closure is not called before the claim is granted.
    ///
    /// # Errors
    ///
    /// What the function returned, or what an [`OnceError`] became.
    ///
    /// # Panics
    ///
    /// When the function does, and that is recorded.
    pub async fn try_run_with<T, E, F>(
        self,
        function: impl FnOnce(OnceExecution<T>) -> F + Send + 'static,
    ) -> Result<Once<T>, E>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        E: From<OnceError> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let called = drive(self, |execution| async {
            let releasing = execution.clone();
            match function(execution).await {
                Ok(value) => Ended::Value(value),
                Err(error) => {
                    releasing.release();
                    Ended::Released(error)
                }
            }
        });
        called.await.map_err(|failure| match failure {
            Failure::Released(error) => error,
            Failure::Once(error) => error.into(),
        })
    }
}

impl fmt::Debug for OnceBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("OnceBuilder")
            .field("operation", &self.operation)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
