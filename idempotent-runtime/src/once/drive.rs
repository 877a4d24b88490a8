//! A call, from the claim to its value.

use std::{future::Future, pin::pin, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{Once, OnceBuilder, OnceError, OnceExecution, Recorded, execution::Ended};
use crate::{
    core::{
        fingerprint::Fingerprint,
        policy::AppliedPolicy,
        protocol::{self, Ask, ScopeAnswer},
        value,
    },
    engine::{self, Answer, Begun, Detachable, Wanted, begin, execute, spawn},
    event::Outcome,
    execution::{Execution, RunState},
    observation::Operation,
    target::Target,
};

/// Why a call has no value.
pub(super) enum Failure<E> {
    /// The function said that nothing has happened.
    Released(E),
    Once(OnceError),
}

/// Makes the call.
pub(super) async fn drive<T, E, F>(
    call: OnceBuilder,
    function: impl FnOnce(OnceExecution<T>) -> F + Send + 'static,
) -> Result<Once<T>, Failure<E>>
where
    T: Serialize + DeserializeOwned + Send + 'static,
    E: Send + 'static,
    F: Future<Output = Ended<T, E>> + Send + 'static,
{
    if call.runtime.0.switch.is_off() {
        return unprotected(call, function).await;
    }
    let (state, wanted) = call.wanted().map_err(Failure::Once)?;
    let run = run(Arc::clone(&state), wanted, function);
    Detachable::new(run, state, |run, detached| {
        spawn(async {
            let _detached = detached;
            // Nobody is left to be told; the next call is.
            let _ = run.await;
        });
    })
    .await
}

/// The part that goes on without its caller, once the function has started.
async fn run<T, E, F>(
    state: Arc<RunState>,
    wanted: Wanted,
    function: impl FnOnce(OnceExecution<T>) -> F,
) -> Result<Once<T>, Failure<E>>
where
    T: Serialize + DeserializeOwned,
    F: Future<Output = Ended<T, E>>,
{
    let execution = OnceExecution::new(Execution(Some(Arc::clone(&state))));
    // Called when it is polled: it may begin its effect before it gives a future.
    let function = async { function(execution).await };
    let ended = match begin(Arc::clone(&state), wanted).await {
        Begun::Run(guard) => {
            let function = pin!(function);
            execute(guard, function).await
        }
        Begun::Unprotected => return first(function.await, Recorded::Never),
        Begun::Answer(answer) => Err(answer),
    };
    match ended {
        Ok(ended) if state.is_recorded() => first(ended, Recorded::Yes),
        Ok(ended) if state.is_releasing() => first(ended, Recorded::Never),
        Ok(ended) => first(ended, Recorded::Later),
        Err(answer) => other(&state, answer).map_err(Failure::Once),
    }
}

/// What a call comes to that has no outcome of its own.
fn other<T: DeserializeOwned>(state: &RunState, answer: Answer) -> Result<Once<T>, OnceError> {
    let found = match answer {
        Answer::Replay(record) => value::read(&record).map_err(OnceError::from),
        Answer::Refuse(refusal) => Err(OnceError::of(refusal.problem, state.target.take_failure())),
    };
    let overtaken = state.is_fenced();
    match found {
        Ok(value) => Ok(Once {
            value,
            replayed: true,
            recorded: Recorded::Yes,
            overtaken,
        }),
        Err(error) if overtaken => Err(OnceError::Overtaken(Box::new(error))),
        Err(error) => Err(error),
    }
}

/// Calls a function while protection is turned off: without a look at its key, and not to its end
/// when the caller goes away.
async fn unprotected<T, E, F>(
    call: OnceBuilder,
    function: impl FnOnce(OnceExecution<T>) -> F,
) -> Result<Once<T>, Failure<E>>
where
    F: Future<Output = Ended<T, E>>,
{
    let target = Target::function(call.operation);
    let operation = Operation::new(&call.policy, Some(&target));
    let outcome = Outcome::UnprotectedDisabled;
    call.runtime.0.report(operation, None, outcome, None);
    first(
        function(OnceExecution::new(Execution(None))).await,
        Recorded::Never,
    )
}

/// What a call comes to whose function has run.
fn first<T, E>(ended: Ended<T, E>, recorded: Recorded) -> Result<Once<T>, Failure<E>> {
    match ended {
        Ended::Value(value) => Ok(Once {
            value,
            replayed: false,
            recorded,
            overtaken: false,
        }),
        Ended::Released(error) => Err(Failure::Released(error)),
    }
}

impl OnceBuilder {
    /// What to ask the store for, or why it is not asked.
    fn wanted(self) -> Result<(Arc<RunState>, Wanted), OnceError> {
        let policy = AppliedPolicy::Call(Box::new(self.policy));
        let target = Target::function(self.operation);
        let state = RunState::new(self.runtime, target);
        let payload = self.payload.transpose().map_err(|error| {
            state.report(&policy, None, Outcome::Misconfigured);
            OnceError::Payload(error.into())
        })?;
        let fingerprint = Fingerprint::of_call(payload.as_ref());
        let caller = self.scope.value().map(str::to_owned);
        let request = protocol::Request {
            namespace: &state.runtime.0.settings.namespace,
            operation: &state.target.operation(&policy),
            key: Some(self.key),
            // An empty value names nobody: it must not be a caller that all who leave it empty
            // share.
            scope: match caller.as_deref() {
                Some("") => ScopeAnswer::Unknown,
                _ => ScopeAnswer::Known(self.scope),
            },
            fingerprint,
        };
        let problem = match protocol::ask(&policy, request) {
            Ask::Claim(id, key) => {
                let wanted = Wanted {
                    policy,
                    id,
                    key,
                    fingerprint,
                    caller,
                };
                state.observe(&wanted.policy);
                return Ok((Arc::new(state), wanted));
            }
            Ask::Refuse(problem) => problem,
            Ask::Nothing => unreachable!("only a call without a key asks for nothing"),
        };
        state.report(&policy, None, engine::refusal(&problem));
        Err(OnceError::of(problem, None))
    }
}
