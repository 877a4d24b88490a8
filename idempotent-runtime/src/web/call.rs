//! A handler's call: its arguments, and what is known of its request.

use std::{fmt, fmt::Display, sync::Arc};

use bytes::Bytes;
use serde::Serialize;

use super::Accept;
use crate::{
    core::{
        fingerprint::Fingerprint,
        key::{Key, KeyError},
        policy::{FingerprintPolicy, Policy, ScopePolicy},
        protocol::ScopeAnswer,
        scope::Scope,
    },
    execution::RunState,
    runtime::Idempotency,
    target::Target,
};

/// The call of a protected handler: its extracted arguments, and what else is known of the
/// request.
///
/// `SCOPE` is the id of the scope's name, 0 for a scope without resolver; `KEYED` says that the
/// request has a key even when it has no header.
pub struct Call<Args, const SCOPE: u64, const KEYED: bool> {
    pub(super) head: CallHead,
    pub(super) args: Args,
}

impl<Args, const SCOPE: u64, const KEYED: bool> Call<Args, SCOPE, KEYED> {
    #[doc(hidden)]
    pub fn into_parts(self) -> (CallHead, Args) {
        (self.head, self.args)
    }
}

impl<Args, const SCOPE: u64, const KEYED: bool> fmt::Debug for Call<Args, SCOPE, KEYED> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Call")
    }
}

/// What is known of a call's request.
#[doc(hidden)]
pub struct CallHead {
    pub(super) kind: CallKind,
    #[cfg(feature = "actix")]
    pub(super) actix: Option<send_wrapper::SendWrapper<actix_web::HttpRequest>>,
}

impl CallHead {
    /// Whose key it is, where the attribute has an expression for it.
    #[must_use]
    pub fn scope(mut self, value: &(impl Display + ?Sized)) -> Self {
        if let CallKind::Keyed(keyed) = &mut self.kind {
            keyed.scope = Caller::of(value.to_string());
        }
        self
    }

    /// The key, where the attribute has an expression for it.
    #[must_use]
    pub fn key(mut self, value: &(impl Display + ?Sized)) -> Self {
        if let CallKind::Keyed(keyed) = &mut self.kind {
            keyed.key = Some(Key::from_value(&value.to_string()));
        }
        self
    }

    /// What must be the same when a key is used again, where the attribute has an expression
    /// for it.
    #[must_use]
    pub fn fingerprint(mut self, value: &(impl Serialize + ?Sized)) -> Self {
        if let CallKind::Keyed(keyed) = &mut self.kind {
            keyed.value = Some(serde_json::to_value(value));
        }
        self
    }
}

impl fmt::Debug for CallHead {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CallHead")
    }
}

pub(super) enum CallKind {
    /// A safe method: the handler runs directly.
    Safe,
    /// Protection is turned off.
    Disabled {
        runtime: Idempotency,
        target: Box<Target>,
    },
    /// No key was sent, and the policy does not make one.
    Keyless {
        runtime: Idempotency,
        accept: Accept,
        /// Only where somebody wants to know.
        target: Option<Box<Target>>,
    },
    Keyed(Box<Keyed>),
}

/// A request with a key.
pub(super) struct Keyed {
    pub(super) state: Arc<RunState>,
    pub(super) key: Option<Result<Key, KeyError>>,
    pub(super) scope: Caller,
    /// The value of a fingerprint expression, or the error of serialising it.
    pub(super) value: Option<Result<serde_json::Value, serde_json::Error>>,
    /// The content type of a form, which says what of the body is its boundary.
    pub(super) form: Option<Bytes>,
    pub(super) body: Bytes,
}

/// Whose key it is, as far as the scope asks.
pub(super) enum Caller {
    /// The scope asks for nobody.
    Anybody,
    NoResolver,
    /// The resolver does not know.
    Unknown,
    /// What the resolver answered, or the value of a scope expression.
    Known(String),
}

impl Caller {
    /// An empty value names nobody: it must not be a caller that all who leave it empty share.
    pub(super) fn of(value: String) -> Self {
        if value.is_empty() {
            Self::Unknown
        } else {
            Self::Known(value)
        }
    }

    pub(super) fn answer(self, policy: ScopePolicy) -> ScopeAnswer {
        match (self, policy) {
            (_, ScopePolicy::Global) => ScopeAnswer::Known(Scope::global()),
            (Self::Known(value), ScopePolicy::Named(name)) => {
                ScopeAnswer::Known(Scope::named(name, value))
            }
            (Self::Known(value), ScopePolicy::Expression) => {
                ScopeAnswer::Known(Scope::expression(value))
            }
            (Self::Unknown, _) => ScopeAnswer::Unknown,
            (Self::NoResolver | Self::Anybody, _) => ScopeAnswer::NoResolver,
        }
    }
}

impl Keyed {
    pub(super) fn fingerprint(
        &mut self,
        policy: &Policy,
    ) -> Result<Fingerprint, serde_json::Error> {
        let target = &self.state.target;
        match (policy.fingerprint, self.value.take()) {
            (FingerprintPolicy::None, _) => Ok(Fingerprint::NONE),
            (FingerprintPolicy::Expression, Some(value)) => {
                value.map(|value| Fingerprint::of_value(target.method(), target.path(), &value))
            }
            _ => Ok(Fingerprint::of_request(
                target.method(),
                target.path_and_query(),
                self.form.as_deref(),
                &self.body,
            )),
        }
    }
}
