//! What both frameworks share: a handler's call, the head of a request, the reply.

mod accept;
#[cfg(feature = "actix")]
pub(crate) mod actix;
#[cfg(feature = "axum")]
pub(crate) mod axum;
mod call;
mod cors;
mod head;
pub(crate) mod respond;

use std::sync::Arc;

use bytes::Bytes;

pub(crate) use self::{accept::Accept, call::CallHead};
pub use self::{
    call::Call,
    cors::{CORS_ALLOW_HEADERS, CORS_EXPOSE_HEADERS},
    head::RequestHead,
};
use self::{
    call::{CallKind, Caller, Keyed},
    head::{Head, Sole},
};
pub(crate) use crate::expiry::IDEMPOTENCY_EXPIRES;
use crate::{
    core::{
        policy::{AppliedPolicy, KeyPolicy, Policy, ScopePolicy},
        problem::{Problem, ProblemSettings, RenderedProblem},
        protocol::{self, Ask},
    },
    engine::{self, Answer, Begun, Wanted},
    event::Outcome,
    execution::RunState,
    observation::Operation,
    runtime::Idempotency,
    target::Target,
};

/// The header that carries the key.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The header that marks a replay.
pub const IDEMPOTENCY_REPLAYED: &str = "idempotency-replayed";

/// Looks at the head of a request, before its extractors run.
fn inspect<const SCOPE: u64, const KEYED: bool>(
    head: RequestHead<'_>,
    runtime: Option<&Idempotency>,
    target: impl FnOnce() -> Target,
) -> Result<CallKind, RenderedProblem> {
    if matches!(head.method(), "GET" | "HEAD" | "OPTIONS" | "TRACE") {
        return Ok(CallKind::Safe);
    }
    let Some(runtime) = runtime else {
        tracing::error!(
            method = head.method(),
            path = head.path(),
            "a handler with #[idempotent] was called, but its router has no Idempotency: add \
             `.layer(idempotency.clone())` to the axum `Router`, or \
             `.app_data(idempotency.clone())`, not wrapped in `web::Data`, to the actix-web `App`",
        );
        let problem = Problem::Misconfigured.render(&ProblemSettings::default());
        return Err(problem.in_form(head.accept().form()));
    };
    if runtime.0.switch.is_off() {
        return Ok(CallKind::Disabled {
            runtime: runtime.clone(),
            target: Box::new(target()),
        });
    }
    let key = head.key();
    if key.is_none() && !KEYED {
        return Ok(CallKind::Keyless {
            runtime: runtime.clone(),
            accept: head.accept(),
            target: runtime.0.is_observed().then(|| Box::new(target())),
        });
    }
    let scope = match SCOPE {
        0 => Caller::Anybody,
        _ => match runtime.0.resolver(SCOPE) {
            None => Caller::NoResolver,
            Some(resolver) => resolver(&head).map_or(Caller::Unknown, Caller::of),
        },
    };
    let form = head.content_type().filter(|value| {
        value
            .get(..10)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/"))
    });
    Ok(CallKind::Keyed(Box::new(Keyed {
        state: Arc::new(RunState::new(runtime.clone(), target()).answering(head.accept())),
        key,
        scope,
        value: None,
        form: form.map(Bytes::copy_from_slice),
        body: Bytes::new(),
    })))
}

/// Refuses a body that is over the framework's limit.
fn body_too_large(keyed: &Keyed) -> RenderedProblem {
    let RunState {
        runtime, target, ..
    } = &*keyed.state;
    let inner = &runtime.0;
    // The policy, which may name the operation otherwise, is not known before the handler.
    let operation = Operation::Called {
        name: None,
        target: Some(target),
    };
    inner.report(operation, None, Outcome::BodyTooLarge, None);
    keyed.state.render(&Problem::BodyTooLarge)
}

/// What is to be done about a call, as far as can be said without asking the store.
enum Start {
    Unprotected,
    Refused(RenderedProblem),
    Keyed(Box<Keyed>),
}

fn start(kind: CallKind, policy: &'static Policy) -> Start {
    match kind {
        CallKind::Safe => Start::Unprotected,
        CallKind::Disabled { runtime, target } => {
            let operation = Operation::new(policy, Some(&target));
            let outcome = Outcome::UnprotectedDisabled;
            runtime.0.report(operation, None, outcome, None);
            Start::Unprotected
        }
        CallKind::Keyless {
            runtime,
            accept,
            target,
        } => {
            let inner = &runtime.0;
            let operation = Operation::new(policy, target.as_deref());
            if policy.key == KeyPolicy::Optional {
                inner.report(operation, None, Outcome::Unprotected, None);
                Start::Unprotected
            } else {
                inner.report(operation, None, Outcome::KeyMissing, None);
                let problem = Problem::KeyMissing.render(&inner.settings.problems);
                Start::Refused(problem.in_form(accept.form()))
            }
        }
        CallKind::Keyed(keyed) => Start::Keyed(keyed),
    }
}

/// Asks for the right to run the handler of a call.
async fn begin(keyed: Box<Keyed>, policy: &'static Policy) -> Begun {
    // In a block, so that the future has no room for what is handed on.
    {
        let asked = wanted(*keyed, policy);
        match asked {
            Ok((state, wanted)) => engine::begin(state, wanted),
            Err(begun) => return begun,
        }
    }
    .await
}

/// What to ask the store for, or what becomes of a call without asking.
fn wanted(mut keyed: Keyed, policy: &'static Policy) -> Result<(Arc<RunState>, Wanted), Begun> {
    let fingerprint = keyed.fingerprint(policy);
    let state = keyed.state;
    let operation = state.target.operation(policy);
    let refuse = |problem: &Problem| {
        state.report(policy, None, engine::refusal(problem));
        Begun::Answer(Answer::Refuse(state.render(problem)))
    };
    let fingerprint = fingerprint.map_err(|error| {
        tracing::error!(
            operation = operation.concat(),
            error = &error as &dyn std::error::Error,
            "the value of `fingerprint = …` cannot be serialised",
        );
        refuse(&Problem::Misconfigured)
    })?;
    let caller = match &keyed.scope {
        Caller::Known(caller) if state.runtime.0.settings.reconciler.is_some() => {
            Some(caller.clone())
        }
        _ => None,
    };
    let request = protocol::Request {
        namespace: &state.runtime.0.settings.namespace,
        operation: &operation,
        key: keyed.key,
        scope: keyed.scope.answer(policy.scope),
        fingerprint,
    };
    match protocol::ask(policy, request) {
        Ask::Claim(id, key) => {
            let wanted = Wanted {
                policy: AppliedPolicy::Attribute(policy),
                id,
                key,
                fingerprint,
                caller,
            };
            Ok((state, wanted))
        }
        // A policy that does without a key is never asked about one.
        Ask::Nothing => Err(Begun::Unprotected),
        Ask::Refuse(problem) => {
            if let (Problem::Misconfigured, ScopePolicy::Named(name)) = (&problem, policy.scope) {
                tracing::error!(
                    operation = operation.concat(),
                    scope = name,
                    "no resolver is registered for the scope: add `.scope({name:?}, …)` to \
                     `Idempotency::builder`",
                );
            }
            Err(refuse(&problem))
        }
    }
}

/// The body of a response that issues a key.
fn issued_key() -> String {
    serde_json::json!({ "key": uuid::Uuid::new_v4().to_string() }).to_string()
}
