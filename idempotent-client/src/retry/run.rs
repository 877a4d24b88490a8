//! One call that runs an operation, from before its first attempt to after its last.

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, timeout};

use super::{Answer, Retry};
use crate::{
    Attempts, Failure, IdempotencyKey, KeyFate, KeyStore, KeyStoreError, Operation, OperationError,
    RunOutcome, key_store::Run, operation::Identity,
};

pub(super) struct ActiveRun {
    label: String,
    key: IdempotencyKey,
    is_resumed: bool,
    age: Age,
    store_timeout: Duration,
    entered: Option<Entered>,
}

/// How old a key becomes.
struct Age {
    ttl: Duration,
    created: SystemTime,
    clock: fn() -> SystemTime,
    /// By a clock that nobody sets, but that stops while the machine sleeps.
    begun: Instant,
    left_then: Duration,
}

impl Age {
    fn new(retry: &Retry, created: SystemTime) -> Self {
        let (ttl, clock) = (retry.key_ttl, retry.clock);
        Self {
            ttl,
            created,
            clock,
            begun: Instant::now(),
            left_then: left(ttl, created, clock()),
        }
    }

    fn left(&self) -> Duration {
        let by_run = self.left_then.saturating_sub(self.begun.elapsed());
        left(self.ttl, self.created, (self.clock)()).min(by_run)
    }
}

fn left(ttl: Duration, created: SystemTime, now: SystemTime) -> Duration {
    ttl.saturating_sub(now.duration_since(created).unwrap_or_default())
}

/// A run that the store knows of. Dropped before it has ended, it is abandoned.
struct Entered {
    store: Arc<dyn KeyStore>,
    name: String,
    run: Run,
    has_ended: bool,
}

impl Drop for Entered {
    fn drop(&mut self) {
        if !self.has_ended {
            self.store.abandon(&self.name, &self.run);
        }
    }
}

impl ActiveRun {
    pub(super) async fn begin<E>(
        retry: &Retry,
        label: String,
        operation: &Operation,
    ) -> Result<Self, OperationError<E>> {
        let name = match operation.identity() {
            Identity::Named(name) => name,
            Identity::Keyed { key, was_begun } => {
                return Ok(Self {
                    label,
                    key: key.clone(),
                    is_resumed: was_begun.swap(true, Ordering::Relaxed),
                    age: Age::new(retry, (retry.clock)()),
                    store_timeout: retry.store_timeout,
                    entered: None,
                });
            }
        };
        let Some(store) = &retry.store else {
            return Err(OperationError::NoKeyStore { operation: label });
        };
        let limit = retry.store_timeout.min(retry.policy.total());
        let begun = store.begin(name, IdempotencyKey::random(), retry.key_ttl);
        let run = match in_time(limit, begun).await {
            Ok(run) => run,
            Err(source) => {
                let operation = label;
                return Err(OperationError::KeyStore { operation, source });
            }
        };
        Ok(Self {
            label,
            key: run.key.clone(),
            is_resumed: false,
            age: Age::new(retry, run.created),
            store_timeout: retry.store_timeout,
            entered: Some(Entered {
                store: Arc::clone(store),
                name: name.to_string(),
                run,
                has_ended: false,
            }),
        })
    }

    pub(super) fn label(&self) -> &str {
        &self.label
    }

    pub(super) fn key(&self) -> &IdempotencyKey {
        &self.key
    }

    /// Whether the key may have been sent before; for a named operation the store knows.
    pub(super) fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// For how long the key may still be sent.
    pub(super) fn time_left(&self) -> Duration {
        self.age.left()
    }

    pub(super) async fn end<T, E>(
        mut self,
        count: u32,
        outcome: RunOutcome,
        answer: Result<Answer<T>, Failure<E>>,
    ) -> Result<(T, Attempts), OperationError<E>> {
        let fate = self.settle(outcome).await;
        let mut attempts = Attempts {
            is_named: self.entered.is_some(),
            operation: self.label,
            key: self.key,
            count,
            is_replay: false,
            // A refusal is certain if the key was given up, that is if no other run may have done it.
            is_certain: match outcome {
                RunOutcome::Done => true,
                RunOutcome::Refused => fate == KeyFate::GivenUp,
                RunOutcome::Uncertain => false,
            },
            fate,
        };
        match answer {
            Ok(answer) => {
                attempts.is_replay = answer.is_replay;
                Ok((answer.response, attempts))
            }
            Err(source) => Err(OperationError::Unanswered {
                attempts: Box::new(attempts),
                source,
            }),
        }
    }

    async fn settle(&mut self, outcome: RunOutcome) -> KeyFate {
        let Some(entered) = &mut self.entered else {
            return match outcome {
                RunOutcome::Done | RunOutcome::Refused => KeyFate::GivenUp,
                RunOutcome::Uncertain => KeyFate::Kept,
            };
        };
        let ended = entered.store.end(&entered.name, &entered.run, outcome);
        match in_time(self.store_timeout, ended).await {
            Ok(fate) => {
                entered.has_ended = true;
                fate
            }
            Err(error) => {
                // The answer is worth more than the store. The key stays, which is safe.
                let operation = &self.label;
                tracing::warn!(%error, operation, "a key is kept that may be done with");
                KeyFate::Kept
            }
        }
    }
}

async fn in_time<T>(
    limit: Duration,
    step: impl Future<Output = Result<T, KeyStoreError>>,
) -> Result<T, KeyStoreError> {
    let done = timeout(limit, step).await;
    done.unwrap_or(Err(KeyStoreError::TimedOut(limit)))
}
