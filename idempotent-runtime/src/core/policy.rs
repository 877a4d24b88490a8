//! What an attribute says, as data.

use std::time::Duration;

/// What one `#[idempotent]` attribute says. The macro checks every value while compiling.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)] // Built by generated code, field by field.
pub struct Policy {
    /// `operation = "…"`; without it, method and route pattern.
    pub operation: Option<&'static str>,
    /// Where the scope comes from.
    pub scope: ScopePolicy,
    /// Where the key comes from.
    pub key: KeyPolicy,
    /// What must be the same when a key is used again.
    pub fingerprint: FingerprintPolicy,
    /// How long a record lives, counted from completion.
    pub ttl: Duration,
    /// How long a request waits for a running one; `None` answers `in-flight` at once.
    pub wait: Option<Duration>,
    /// How long a claim is believed without a sign of life.
    pub lease: Duration,
    /// What becomes of a claim whose owner was lost.
    pub on_lost: OnLost,
    /// The statuses that release the key.
    pub release_on: StatusSet,
    /// What happens when the store cannot be asked.
    pub store_down: StoreDown,
    /// The largest body that is recorded, in bytes.
    pub max_response: u64,
}

/// The policy of one call: an attribute's, or one that was made for the call.
#[cfg(feature = "functions")]
pub(crate) enum AppliedPolicy {
    #[cfg(any(feature = "axum", feature = "actix"))]
    Attribute(&'static Policy),
    Call(Box<Policy>),
}

#[cfg(feature = "functions")]
impl std::ops::Deref for AppliedPolicy {
    type Target = Policy;

    fn deref(&self) -> &Policy {
        match self {
            #[cfg(any(feature = "axum", feature = "actix"))]
            Self::Attribute(policy) => policy,
            Self::Call(policy) => policy,
        }
    }
}

/// Where the scope of a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum ScopePolicy {
    /// One namespace for all callers.
    Global,
    /// The resolver registered under this name.
    Named(&'static str),
    /// An expression over the handler's arguments.
    Expression,
}

/// Where the key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum KeyPolicy {
    /// The header; a request without it is refused.
    Required,
    /// The header; a request without it runs unprotected.
    Optional,
    /// The header, or the fingerprint for a request without it.
    Derived,
    /// An expression over the handler's arguments; the header is not read.
    Expression,
}

/// What must be the same when a key is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum FingerprintPolicy {
    /// Method, path, query and body.
    Request,
    /// Nothing: whatever is asked for under a key gets its record.
    None,
    /// Method, path, and the value of an expression over the handler's arguments.
    Expression,
}

/// What becomes of a claim whose owner was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum OnLost {
    /// The next request runs the handler again.
    Rerun,
    /// Nobody runs it again: the outcome is unknown until the ttl ends.
    Refuse,
}

/// What happens when the store cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum StoreDown {
    /// The request is refused, the handler does not run.
    Refuse,
    /// The handler runs unprotected.
    Run,
}

/// A set of statuses, as inclusive ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct StatusSet(pub &'static [(u16, u16)]);

impl StatusSet {
    /// Whether the set has this status.
    #[must_use]
    pub fn contains(self, status: u16) -> bool {
        self.0
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&status))
    }
}
