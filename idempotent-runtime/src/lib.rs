//! Makes existing axum and actix-web handlers safe to retry: one `Idempotency-Key`, one effect.
//!
//! A client that lost the answer to `POST /payments` cannot know whether it paid. With
//! [`#[idempotent]`](macro@idempotent) on the handler it sends the same request again, with the
//! same `Idempotency-Key`, and gets the first attempt's response; the payment happens once.
//!
//! ```
//! # #[cfg(all(feature = "axum", feature = "macros"))] mod example {
//! use axum::{Json, Router, http::StatusCode, routing::post};
//! use idempotent_runtime::{Idempotency, MemoryStore, idempotent, scopes};
//! # #[derive(serde::Deserialize, serde::Serialize)]
//! # struct Payment { amount: i64 }
//!
//! // An authentication middleware of yours has put it into the request's extensions.
//! #[derive(Clone)]
//! struct User { id: String }
//!
//! #[idempotent(ttl = "24h", scope = "user")]
//! async fn pay(Json(payment): Json<Payment>) -> (StatusCode, Json<Payment>) {
//!     // … the effect …
//!     (StatusCode::CREATED, Json(payment))
//! }
//!
//! fn app() -> Router {
//!     let idempotency = Idempotency::builder(MemoryStore::default())
//!         .scope("user", scopes::extension(|user: &User| user.id.clone()))
//!         .build();
//!     Router::new().route("/payments", post(pay)).layer(idempotency)
//! }
//! # }
//! ```
//!
//! In actix-web the handler carries the same attribute and the last line is
//! `App::new().app_data(idempotency)`.
//!
//! # One request, in order
//!
//! 1. A request with GET, HEAD, OPTIONS or TRACE runs the handler directly.
//! 2. The [`Idempotency`] is found; without one the answer is 500 `misconfigured`.
//! 3. With a key, the resolver of a named scope is asked who calls, and the body is read where the
//!    handler has an extractor for it, under the framework's own limit (axum `DefaultBodyLimit`,
//!    actix-web `PayloadConfig`, which is 256 KiB unless set, also for JSON). Over it: 413
//!    `body-too-large`.
//! 4. The handler's own extractors run. A rejection is returned as it is, nothing is recorded and
//!    the key stays free. So a replay is only ever given to a request that passes the handler's
//!    authentication again.
//! 5. The key is checked, and the scope: what the resolver answered, or the value of the expression.
//! 6. The store is asked for the claim, in one atomic step:
//!    - granted: the handler runs, once, to its end, even if the client goes away, and its
//!      response is recorded;
//!    - used for a request with another fingerprint: 422 `key-reused`;
//!    - running: 409 `in-flight`, or the outcome, with `wait = "5s"`;
//!    - done: the recorded response is sent again, with `Idempotency-Replayed: true`;
//!    - done, and the response was not kept: 409 `response-not-kept`;
//!    - a run that was lost and must not be repeated: 409 `outcome-unknown`.
//!
//! # What is recorded
//!
//! Every response, errors too, except those that say "not done, try again": 429 and 503, unless
//! `release_on(…)` says otherwise. A handler that panics is recorded as a 500 with an empty body,
//! because nobody can know how far it came. Status, body bytes and headers are kept, but not the
//! headers of the connection, `Date`, `Content-Length` and `Set-Cookie`. A body over
//! `max_response` and an event stream go to the first caller whole, and leave a record without
//! body: a retry is told 409 `response-not-kept` and the handler does not run again. So does a
//! response with trailers. A stream of another type is held back until it has ended or has grown
//! over `max_response`; do not protect a handler whose stream never ends.
//!
//! A handler that must say more takes an [`Execution`] among its arguments.
//!
//! # Problems
//!
//! What this crate answers by itself is an RFC 9457 problem document, `application/problem+json`,
//! with a `code` from [`Problem`] and `retryable`. It never repeats a key, a caller or what
//! another request sent; nor do log events, which name a record by a short hash.
//!
//! # Where records live
//!
//! In a [`Store`]. [`MemoryStore`] serves one process and forgets with it. `SqliteStore`,
//! `PostgresStore` and `RedisStore` outlive the process and are shared by several; `NearCache` and
//! `Encrypted` wrap any store. [`store`] tells what a store must do and has the suite that checks
//! it.
//!
//! # Leases
//!
//! In a store that outlives its processes a claim is believed for its `lease` and renewed while
//! its handler runs. When the process is gone, the lease ends: with `on_lost = "rerun"` the next
//! request runs the handler again, with `"refuse"` the run is **lost**, and nobody repeats it until
//! the ttl ends. [`IdempotencyBuilder::reconcile`] asks the application first. A process that
//! stood still past its lease, and was overtaken, is **fenced**: its outcome is not recorded, and
//! its client is answered with the winner's, or with 409 `in-flight` while the winner still runs. A
//! lease is renewed in the request's own task, so a handler must not block its thread for as long as
//! that.
//!
//! # Exactly once
//!
//! [`Execution::commit_in`] writes the record in the handler's own database transaction: effect
//! and record are committed together, or neither is, whenever the process ends.
//!
//! # Beyond HTTP
//!
//! A message of a queue is delivered again when its consumer died before it acknowledged, and a job
//! is started twice. [`Idempotency::once`] runs a function once for a key, with the same claims,
//! leases, waits and records, in any process that has a store; it needs no framework (feature
//! `functions`).
//!
//! ```
//! # #[cfg(feature = "functions")] mod example {
//! use std::time::Duration;
//! use idempotent_runtime::{Idempotency, OnceError, Scope};
//!
//! # #[derive(serde::Serialize, serde::Deserialize)] struct Receipt;
//! # struct Paid { id: String, amount: i64 }
//! # async fn charge(_: i64) -> Receipt { Receipt }
//! async fn on_paid(idempotency: &Idempotency, event: Paid) -> Result<Receipt, OnceError> {
//!     let receipt = idempotency
//!         .once("on paid", Scope::global(), &event.id)
//!         .payload(&event.amount)
//!         .ttl(Duration::from_hours(7 * 24))
//!         .run(async move { charge(event.amount).await })
//!         .await?;
//!     Ok(receipt.value)
//! }
//! # }
//! ```
//!
//! `run` records whatever the function returns, a `Result` with its error too. `try_run` records
//! what is `Ok`; an `Err` says that **nothing has happened**, and the next call runs the function
//! again. [`OnceExecution::commit_in`] makes effect and record one transaction.
//!
//! The attribute does the same for an ordinary `async fn`, when it is told where the runtime is. Its
//! callers do not see that it is protected:
//!
//! ```
//! # #[cfg(all(feature = "functions", feature = "macros"))] mod example {
//! # use std::sync::Arc;
//! # use idempotent_runtime::{Idempotency, OnceError, idempotent};
//! # #[derive(serde::Serialize, serde::Deserialize)] struct Receipt;
//! # struct Paid { id: String, amount: i64 }
//! # struct State { idempotency: Idempotency }
//! # enum Error { Once(OnceError) }
//! # impl From<OnceError> for Error { fn from(error: OnceError) -> Self { Self::Once(error) } }
//! # async fn charge(_: &State, _: i64) -> Result<Receipt, Error> { Ok(Receipt) }
//! #[idempotent(runtime = state.idempotency, key = event.id, scope = "global", ttl = "7d")]
//! async fn on_paid(state: Arc<State>, event: Paid) -> Result<Receipt, Error> {
//!     charge(&state, event.amount).await
//! }
//! # }
//! ```
//!
//! A consumer acknowledges its message when the call has a value, and not before, unless that is
//! [`Recorded::Later`]: then, as with an error that is retryable, it gives the message back. An
//! [`OnceError`] says what to do with the message: where it
//! [is retryable](OnceError::is_retryable), give it back to the broker; else put it aside.
//!
//! # Operating
//!
//! [`Idempotency::inspect`], [`forget`](Idempotency::forget),
//! [`complete_with`](Idempotency::complete_with), [`lost`](Idempotency::lost) and
//! [`running_longer_than`](Idempotency::running_longer_than) look keys up and act on them, and
//! `axum::admin_router` and `actix::admin_scope` do so over HTTP. [`Idempotency::disable`] turns
//! protection off.
//!
//! # Shutting down
//!
//! A handler goes on after its client went away, so a server that has closed its connections may
//! still be at work. [`Idempotency::drain`] waits for that.
//!
//! # Watching it
//!
//! What an operator must know is logged with `tracing`, from `warn` up. At `debug` each request has
//! a span `idempotent` with `operation`, `record` (a short hash, by which one record can be
//! followed) and `outcome`, which stays the parent of all that its handler logs, also after the
//! client went away; and events for the claim and for each outcome. The feature `metrics` counts and
//! measures, and [`IdempotencyBuilder::on_event`] tells a hook of yours.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `axum` | handlers of axum 0.8 |
//! | `actix` | handlers of actix-web 4 |
//! | `macros` (default) | the attribute |
//! | `functions` | [`Idempotency::once`], and the attribute on functions; comes with either framework |
//! | `memory` | [`MemoryStore`]; comes with `functions` |
//! | `sqlite` | `SqliteStore`: records in a file |
//! | `postgres` | `PostgresStore`: records in PostgreSQL, over a pool of sqlx |
//! | `redis` | `RedisStore`: records in Redis 7 or Valkey |
//! | `near-cache` | `NearCache`: replays of any store from this process's memory |
//! | `encrypt` | `Encrypted`: responses sealed at rest, in any store |
//! | `metrics` | `metrics`: counters, histograms and gauges, by the `metrics` crate |
//! | `openapi` | what [`openapi`] says in the documents of utoipa about each operation |
//! | `store-contract` | the suite for authors of stores |
//!
//! Both frameworks may be on at once; what a handler returns says whose it is.

#[cfg(feature = "functions")]
mod any_store;
mod clock;
mod core;
#[cfg(feature = "functions")]
mod engine;
#[cfg(feature = "functions")]
mod event;
#[cfg(feature = "functions")]
mod execution;
#[cfg(feature = "functions")]
mod expiry;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "functions")]
mod observation;
#[cfg(feature = "functions")]
mod once;
#[cfg(feature = "openapi")]
pub mod openapi;
#[cfg(feature = "functions")]
mod operator;
#[cfg(feature = "functions")]
mod reconcile;
#[cfg(feature = "functions")]
mod recordable;
#[cfg(feature = "functions")]
mod runtime;
#[cfg(any(feature = "axum", feature = "actix"))]
pub mod scopes;
pub mod store;
#[cfg(feature = "functions")]
mod target;
#[cfg(any(feature = "axum", feature = "actix"))]
mod web;

pub use crate::core::protocol;

#[cfg(feature = "macros")]
pub use idempotent_macros::idempotent;

#[cfg(feature = "encrypt")]
pub use crate::store::encrypted::{Encrypted, SealingKey, SealingKeyError, SealingKeyId};
#[cfg(feature = "memory")]
pub use crate::store::memory::{MemoryStore, MemoryStoreBuilder};
#[cfg(feature = "near-cache")]
pub use crate::store::near_cache::NearCache;
#[cfg(feature = "postgres")]
pub use crate::store::postgres::{InvalidTableName, PostgresStore, PostgresStoreBuilder};
#[cfg(feature = "redis")]
pub use crate::store::redis::{RedisStore, RedisStoreBuilder};
#[cfg(feature = "sqlite")]
pub use crate::store::sqlite::{Durability, SqliteStore, SqliteStoreBuilder};
#[cfg(any(feature = "axum", feature = "actix"))]
pub use crate::web::{
    CORS_ALLOW_HEADERS, CORS_EXPOSE_HEADERS, IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, RequestHead,
};
pub use crate::{
    clock::{Clock, ManualClock, SystemClock, Timestamp},
    core::{
        fingerprint::Fingerprint,
        key::{Key, KeyError, MAX_KEY_CHARS},
        policy::{FingerprintPolicy, KeyPolicy, OnLost, Policy, ScopePolicy, StatusSet, StoreDown},
        problem::{Problem, ProblemSettings, RenderedProblem},
        record::{Claim, OwnerToken, RecordId, RecordIdError, ShortHash},
        response::{DecodeError, StoredResponse},
        scope::Scope,
    },
    store::{Forget, Store},
};
#[cfg(feature = "functions")]
pub use crate::{
    event::{Event, Outcome},
    execution::{CommitError, CommitInError, Execution, Uncommitted},
    expiry::IDEMPOTENCY_EXPIRES,
    once::{Once, OnceBuilder, OnceError, OnceExecution, Recorded},
    operator::OperatorError,
    reconcile::{LostRun, Reconciled},
    recordable::Recordable,
    runtime::{Idempotency, IdempotencyBuilder},
};

/// Who may act as an operator over HTTP: what `axum::admin_router` and `actix::admin_scope` ask.
#[cfg(any(feature = "axum", feature = "actix"))]
pub mod admin {
    pub use crate::operator::admin::bearer_token;
}

/// What belongs to axum alone.
#[cfg(feature = "axum")]
pub mod axum {
    pub use crate::web::axum::{IdempotencyService, admin_router, issue_key};
}

/// What belongs to actix-web alone.
#[cfg(feature = "actix")]
pub mod actix {
    pub use crate::web::actix::{admin_scope, issue_key};
}

/// What generated code calls. Not part of the public interface: it changes without notice.
#[doc(hidden)]
#[cfg(feature = "functions")]
pub mod __private {
    pub use std::option::Option::{None, Some};
    use std::time::Duration;

    pub use crate::{
        core::policy::{
            FingerprintPolicy, KeyPolicy, OnLost, Policy, ScopePolicy, StatusSet, StoreDown,
        },
        once::function::{FunctionCall, FunctionOutput, Runtime},
    };
    #[cfg(any(feature = "axum", feature = "actix"))]
    pub use crate::{
        runtime::scope_id,
        web::{
            Call,
            respond::{Actix, Axum, AxumNotSend, AxumOrActix, Neither, Probe, Reply},
        },
    };

    /// Applied once more by generated code, below an attribute that it has moved.
    #[cfg(feature = "macros")]
    pub use idempotent_macros::idempotent;

    #[cfg(feature = "openapi")]
    pub use crate::openapi;

    /// A duration of the policy. It has a short name of its own, so that a wrong path of the
    /// runtime is one error, without the advice to import another `Duration`.
    #[must_use]
    pub const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }
}
