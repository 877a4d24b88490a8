//! Makes existing axum and actix-web handlers safe to retry: one `Idempotency-Key`, one effect.

mod clock;
mod core;
#[cfg(any(feature = "axum", feature = "actix"))]
mod engine;
#[cfg(any(feature = "axum", feature = "actix"))]
mod event;
#[cfg(any(feature = "axum", feature = "actix"))]
mod execution;
#[cfg(any(feature = "axum", feature = "actix"))]
mod runtime;
#[cfg(any(feature = "axum", feature = "actix"))]
pub mod scopes;
pub mod store;
#[cfg(any(feature = "axum", feature = "actix"))]
mod web;

#[cfg(feature = "macros")]
pub use idempotent_macros::idempotent;

#[cfg(feature = "memory")]
pub use crate::store::memory::{MemoryStore, MemoryStoreBuilder};
pub use crate::{
    clock::{Clock, ManualClock, SystemClock, Timestamp},
    core::{
        fingerprint::Fingerprint,
        key::{Key, KeyError, MAX_KEY_CHARS},
        policy::{FingerprintPolicy, KeyPolicy, OnLost, Policy, ScopePolicy, StatusSet, StoreDown},
        problem::Problem,
        record::{Claim, OwnerToken, RecordId, ShortHash},
        response::{DecodeError, StoredResponse},
        scope::Scope,
    },
    store::Store,
};
#[cfg(any(feature = "axum", feature = "actix"))]
pub use crate::{
    event::{Event, Outcome},
    execution::{CommitError, Execution},
    runtime::{Idempotency, IdempotencyBuilder},
    web::{IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, Recordable, RequestHead},
};

/// What belongs to axum alone.
#[cfg(feature = "axum")]
pub mod axum {
    pub use crate::web::axum::{IdempotencyService, issue_key};
}

/// What belongs to actix-web alone.
#[cfg(feature = "actix")]
pub mod actix {
    pub use crate::web::actix::issue_key;
}

/// What generated code calls. Not part of the public interface: it changes without notice.
#[doc(hidden)]
#[cfg(any(feature = "axum", feature = "actix"))]
pub mod __private {
    pub use std::option::Option::{None, Some};
    use std::time::Duration;

    pub use crate::{
        core::policy::{
            FingerprintPolicy, KeyPolicy, OnLost, Policy, ScopePolicy, StatusSet, StoreDown,
        },
        runtime::scope_id,
        web::{
            Call,
            respond::{Actix, Axum, AxumNotSend, AxumOrActix, Neither, Probe, Reply},
        },
    };

    /// A duration of the policy. It has a short name of its own, so that a wrong path of the
    /// runtime is one error, without the advice to import another `Duration`.
    #[must_use]
    pub const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }
}
