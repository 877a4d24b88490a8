//! The driver: sends an operation until its outcome is certain or it has been tried enough. It
//! knows no HTTP client.

mod run;

use std::{
    fmt,
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::{Instant, sleep, timeout};

use self::run::ActiveRun;
use crate::{
    Attempts, Failure, IdempotencyKey, KeyStore, Operation, OperationError, RetryPolicy,
    RunOutcome, Verdict, classify, is_replay,
};

/// How long a key is used. A server that keeps records for 24 hours, which is the default of
/// `#[idempotent]`, still knows the key then, also by a clock that is not quite right.
pub(crate) const DEFAULT_KEY_TTL: Duration = Duration::from_hours(23);

/// How long a key store may take for one step: as long as an attempt.
const DEFAULT_KEY_STORE_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs operations with any HTTP client: the caller sends, this decides.
///
/// ```
/// # use idempotent_client::{OperationError, RetryPolicy};
/// use http::{HeaderMap, StatusCode};
/// use idempotent_client::{Answer, Failure, MemoryKeyStore, Operation, Retry};
///
/// # async fn send(_: http::HeaderValue) -> std::io::Result<(StatusCode, HeaderMap, Vec<u8>)> {
/// #     Ok((StatusCode::CREATED, HeaderMap::new(), Vec::new()))
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), OperationError<std::io::Error>> {
/// let retry = Retry::new(RetryPolicy::default()).key_store(MemoryKeyStore::new());
/// let (body, attempts) = retry
///     .run(&Operation::named("invoice-4711"), |attempt| async move {
///         let (status, headers, body) = send(attempt.header_value()).await.map_err(Failure::Lost)?;
///         Ok(Answer::classified(status, &headers, &body.clone(), body))
///     })
///     .await?;
/// assert_eq!(attempts.count(), 1);
/// # Ok(())
/// # }
/// ```
///
/// # Cancellation
///
/// If the future is dropped, the operation counts as ended uncertainly, whether anything was sent
/// or not: the key of a named one is kept.
#[derive(Clone, Debug)]
#[must_use]
pub struct Retry {
    policy: RetryPolicy,
    store: Option<Arc<dyn KeyStore>>,
    store_timeout: Duration,
    key_ttl: Duration,
    clock: fn() -> SystemTime,
}

/// Runs an operation that has no name; short for [`Retry::run`] without a key store.
///
/// # Errors
///
/// As [`Retry::run`].
pub async fn retry<T, E, F, A>(
    policy: &RetryPolicy,
    operation: &Operation,
    attempt: F,
) -> Result<(T, Attempts), OperationError<E>>
where
    F: FnMut(Attempt) -> A,
    A: Future<Output = Result<Answer<T>, Failure<E>>>,
{
    Retry::new(policy.clone()).run(operation, attempt).await
}

/// One attempt, to be sent.
#[derive(Clone, Debug)]
pub struct Attempt {
    number: u32,
    key: IdempotencyKey,
}

impl Attempt {
    /// Which one it is; the first is 1.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The key to send, the same in all attempts.
    #[must_use]
    pub fn key(&self) -> &IdempotencyKey {
        &self.key
    }

    /// The value of the `Idempotency-Key` header to send.
    #[must_use]
    pub fn header_value(&self) -> HeaderValue {
        self.key.to_header_value()
    }
}

/// The answer to an attempt, read to its end, and what it says.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    verdict: Verdict,
    is_replay: bool,
    response: T,
}

impl<T> Answer<T> {
    /// An answer, [classified](classify()).
    pub fn classified(status: StatusCode, headers: &HeaderMap, body: &[u8], response: T) -> Self {
        Self {
            verdict: classify(status, headers, body),
            is_replay: is_replay(headers),
            response,
        }
    }

    /// An answer of which the caller knows better what it says.
    pub fn new(verdict: Verdict, is_replay: bool, response: T) -> Self {
        Self {
            verdict,
            is_replay,
            response,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::new(RetryPolicy::default())
    }
}

impl Retry {
    /// With this policy, and without a key store: names are refused.
    pub fn new(policy: RetryPolicy) -> Self {
        Self {
            policy,
            store: None,
            store_timeout: DEFAULT_KEY_STORE_TIMEOUT,
            key_ttl: DEFAULT_KEY_TTL,
            clock: SystemTime::now,
        }
    }

    /// Keeps the keys of named operations here.
    pub fn key_store(self, store: impl KeyStore) -> Self {
        self.shared_key_store(Arc::new(store))
    }

    /// Keeps the keys of named operations here.
    pub fn shared_key_store(mut self, store: Arc<dyn KeyStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// How long the key store may take for each of its two steps, before the first attempt and
    /// after the last; 30 seconds unless set. If the first takes longer nothing is sent; if the
    /// last does, the key is kept.
    pub fn key_store_timeout(mut self, timeout: Duration) -> Self {
        self.store_timeout = timeout;
        self
    }

    /// How long after it was made a named operation's key is sent, and any other after the call has
    /// begun; 23 hours unless set. It must be less than the time for which the server keeps its
    /// records, its `ttl`. It is counted by the clock on the wall, which goes on while a machine
    /// sleeps.
    pub fn key_ttl(mut self, ttl: Duration) -> Self {
        self.key_ttl = ttl;
        self
    }

    /// Sends an operation until its outcome is certain, asking again will not help, or the policy
    /// says that it is enough.
    ///
    /// Gives the last response, whatever it says: [`Attempts::is_certain`] tells a 503 after the
    /// last attempt from an outcome.
    ///
    /// # Errors
    ///
    /// [`OperationError::Unanswered`] if the last attempt got no response; others before anything
    /// is sent.
    pub async fn run<T, E, F, A>(
        &self,
        operation: &Operation,
        attempt: F,
    ) -> Result<(T, Attempts), OperationError<E>>
    where
        F: FnMut(Attempt) -> A,
        A: Future<Output = Result<Answer<T>, Failure<E>>>,
    {
        self.run_as(label(operation, None), operation, attempt)
            .await
    }

    pub(crate) async fn run_as<T, E, F, A>(
        &self,
        label: String,
        operation: &Operation,
        mut attempt: F,
    ) -> Result<(T, Attempts), OperationError<E>>
    where
        F: FnMut(Attempt) -> A,
        A: Future<Output = Result<Answer<T>, Failure<E>>>,
    {
        let started = Instant::now();
        let run = ActiveRun::begin(self, label, operation).await?;
        let time_left = || {
            let left = self.policy.total().saturating_sub(started.elapsed());
            left.min(run.time_left())
        };
        let mut number = 0;
        // Whether an attempt before the present one may have reached the server. Those that the key
        // store remembers, it remembers itself.
        let mut is_uncertain = run.is_resumed();
        loop {
            let limit = self.policy.timeout().min(time_left());
            let answer = if run.time_left().is_zero() {
                Err(Failure::KeyExpired)
            } else {
                number += 1;
                let key = run.key().clone();
                timeout(limit, attempt(Attempt { number, key }))
                    .await
                    .unwrap_or(Err(Failure::TimedOut(limit)))
            };
            let (outcome, retry_after) = Self::judge(&answer, is_uncertain);
            is_uncertain |= outcome == RunOutcome::Uncertain;
            if let Some(after) = retry_after
                && let Some(wait) = self.policy.wait(number, after)
                && wait < time_left()
            {
                tracing::debug!(operation = run.label(), number, ?wait, "trying again");
                // The answer goes first: it may hold a connection.
                drop(answer);
                sleep(wait).await;
                continue;
            }
            return run.end(number, outcome, answer).await;
        }
    }

    /// What is known now of the whole run, and whether and when to send again.
    #[allow(clippy::option_option)] // Whether, and then when.
    fn judge<T, E>(
        answer: &Result<Answer<T>, Failure<E>>,
        is_uncertain: bool,
    ) -> (RunOutcome, Option<Option<Duration>>) {
        let refused = if is_uncertain {
            RunOutcome::Uncertain
        } else {
            RunOutcome::Refused
        };
        match answer {
            Ok(answer) => match answer.verdict {
                Verdict::Done => (RunOutcome::Done, None),
                Verdict::Refused => (refused, None),
                Verdict::Uncertain => (RunOutcome::Uncertain, None),
                Verdict::Retry { after } => (RunOutcome::Uncertain, Some(after)),
            },
            Err(Failure::NotSent(_) | Failure::KeyExpired) => (refused, None),
            Err(Failure::Fatal(_)) => (RunOutcome::Uncertain, None),
            Err(Failure::Lost(_) | Failure::TimedOut(_)) => (RunOutcome::Uncertain, Some(None)),
        }
    }
}

/// What errors call an operation; `request` is its method and path, where they are known.
pub(crate) fn label(operation: &Operation, request: Option<&dyn fmt::Display>) -> String {
    use crate::operation::Identity;

    let request = request.map_or_else(String::new, |request| format!(" ({request})"));
    match operation.identity() {
        Identity::Named(name) => format!("operation {name:?}{request}"),
        Identity::Keyed { key, .. } => format!("operation #{}{request}", key.short_hash()),
    }
}

#[cfg(test)]
mod tests;
