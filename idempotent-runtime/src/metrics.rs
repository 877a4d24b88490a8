//! Metrics, told to the recorder of the [`metrics`](https://docs.rs/metrics) crate that the
//! application installs (feature `metrics`).
//!
//! # What there is
//!
//! | metric | kind | labels | what it is |
//! |---|---|---|---|
//! | `idempotency_requests_total` | counter | `operation`, `outcome` | what became of requests, by the names of [`Outcome`](crate::Outcome) |
//! | `idempotency_handler_duration_seconds` | histogram | `operation` | how long handlers ran that had a claim |
//! | `idempotency_wait_duration_seconds` | histogram | `operation` | how long requests waited for a running one |
//! | `idempotency_response_size_bytes` | histogram | `operation` | the bodies that were recorded |
//! | `idempotency_store_duration_seconds` | histogram | `verb` | how long the store took to answer |
//! | `idempotency_store_errors_total` | counter | `verb`, `error` | verbs that the store failed |
//! | `idempotency_near_cache_lookups_total` | counter | `result` | claims that a near cache answered (`hit`) or did not (`miss`) |
//! | `idempotency_running_handlers` | gauge | | handlers that are running, or whose outcome is still to be recorded |
//! | `idempotency_detached_handlers` | gauge | | those of them whose client went away |
//! | `idempotency_waiting_requests` | gauge | | requests that wait for a running one |
//! | `idempotency_memory_store_bytes` | gauge | | what is taken of the memory store's bytes |
//! | `idempotency_memory_store_entries` | gauge | | claims and records in the memory store |
//! | `idempotency_near_cache_bytes` | gauge | | what copies of records take in a near cache |
//!
//! `operation` is the attribute's `operation`, or method and route pattern, or the first argument of
//! [`once`](crate::Idempotency::once), which is to be a fixed name for that. It is never a path: a
//! request without a route has `(no route)` there, and a method of nobody's knowing is `_OTHER`, so
//! that clients cannot make any number of series. No label tells of a key or a caller. `verb` is
//! `claim`, `complete`, `complete_in`, `release` or `renew`; `error` is `unavailable`, `full`,
//! `unreadable`, `unsupported` or, for a renewal that was not answered in time, `timeout`.
//!
//! Each request has one outcome, with these exceptions: `completion-delayed` comes before the
//! outcome that is recorded in the end, and `fenced` and `abandoned` may come beside another. A
//! refusal by an extractor, a safe method, a router without a runtime, and a request whose client went
//! away before its handler began have none. `forgotten` and `completed-by-hand` are acts
//! of operators, whose `operation` is empty: what an operator names may be a path.
//!
//! # Setting it up
//!
//! Counters and histograms tell by themselves. Gauges are read, and not kept up by every request:
//! call [`Idempotency::record_gauges`](crate::Idempotency::record_gauges) before metrics are
//! rendered. Install the recorder before [`build`](crate::IdempotencyBuilder::build), which
//! describes the metrics to it, or call [`describe`] after.
//!
//! With `metrics-exporter-prometheus`:
//!
//! ```
//! # #[cfg(feature = "functions")]
//! # fn main() -> Result<(), metrics_exporter_prometheus::BuildError> {
//! use idempotent_runtime::{Idempotency, MemoryStore, metrics::{DURATION_BUCKETS, SIZE_BUCKETS}};
//! use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
//!
//! let prometheus = PrometheusBuilder::new()
//!     .set_buckets_for_metric(Matcher::Suffix("_duration_seconds".into()), &DURATION_BUCKETS)?
//!     .set_buckets_for_metric(Matcher::Suffix("_size_bytes".into()), &SIZE_BUCKETS)?
//!     .install_recorder()?;
//!
//! let idempotency = Idempotency::builder(MemoryStore::default()).build();
//!
//! // GET /metrics
//! idempotency.record_gauges();
//! let body = prometheus.render();
//! # assert!(body.contains("idempotency_memory_store_entries 0"), "{body}");
//! # Ok(()) }
//! # #[cfg(not(feature = "functions"))] fn main() {}
//! ```
//!
//! An exporter without a listener of its own wants `prometheus.run_upkeep()` to be called every few
//! seconds, or what is not scraped piles up.

#[cfg(feature = "functions")]
mod record;

#[cfg(feature = "functions")]
pub(crate) use self::record::{Measured, gauges, renewal_timed_out, request, timed};

use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

const REQUESTS: &str = "idempotency_requests_total";
const HANDLER_DURATION: &str = "idempotency_handler_duration_seconds";
const WAIT_DURATION: &str = "idempotency_wait_duration_seconds";
const RESPONSE_SIZE: &str = "idempotency_response_size_bytes";
const STORE_DURATION: &str = "idempotency_store_duration_seconds";
const STORE_ERRORS: &str = "idempotency_store_errors_total";
const NEAR_CACHE_LOOKUPS: &str = "idempotency_near_cache_lookups_total";
const RUNNING: &str = "idempotency_running_handlers";
const DETACHED: &str = "idempotency_detached_handlers";
const WAITING: &str = "idempotency_waiting_requests";
const MEMORY_BYTES: &str = "idempotency_memory_store_bytes";
const MEMORY_ENTRIES: &str = "idempotency_memory_store_entries";
const NEAR_CACHE_BYTES: &str = "idempotency_near_cache_bytes";

/// The names of all metrics there are, for whoever checks a dashboard.
pub const NAMES: [&str; 13] = [
    REQUESTS,
    HANDLER_DURATION,
    WAIT_DURATION,
    RESPONSE_SIZE,
    STORE_DURATION,
    STORE_ERRORS,
    NEAR_CACHE_LOOKUPS,
    RUNNING,
    DETACHED,
    WAITING,
    MEMORY_BYTES,
    MEMORY_ENTRIES,
    NEAR_CACHE_BYTES,
];

/// Upper bounds, in seconds, that suit the histograms of durations: from a store in this process
/// to the longest `wait`.
pub const DURATION_BUCKETS: [f64; 17] = [
    0.000_02, 0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
    15.0, 60.0, 300.0,
];

/// Upper bounds, in bytes, that suit the histogram of response sizes.
pub const SIZE_BUCKETS: [f64; 9] = [
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];

/// Tells the installed recorder what each metric is, and its unit.
///
/// [`IdempotencyBuilder::build`](crate::IdempotencyBuilder::build) does so. It is for an
/// application that installs its recorder later.
///
/// ```
/// // … the recorder is installed …
/// idempotent_runtime::metrics::describe();
/// ```
pub fn describe() {
    describe_counter!(
        REQUESTS,
        Unit::Count,
        "What became of requests with #[idempotent]"
    );
    describe_histogram!(
        HANDLER_DURATION,
        Unit::Seconds,
        "How long protected handlers ran"
    );
    describe_histogram!(
        WAIT_DURATION,
        Unit::Seconds,
        "How long requests waited for a running one"
    );
    describe_histogram!(
        RESPONSE_SIZE,
        Unit::Bytes,
        "The bodies of responses that were recorded"
    );
    describe_histogram!(
        STORE_DURATION,
        Unit::Seconds,
        "How long the store took to answer"
    );
    describe_counter!(
        STORE_ERRORS,
        Unit::Count,
        "Verbs that the store failed to carry out"
    );
    describe_counter!(
        NEAR_CACHE_LOOKUPS,
        Unit::Count,
        "Claims that the near cache answered, or did not"
    );
    describe_gauge!(
        RUNNING,
        Unit::Count,
        "Protected handlers that are running, detached ones included"
    );
    describe_gauge!(
        DETACHED,
        Unit::Count,
        "Protected handlers that are running and whose client went away"
    );
    describe_gauge!(WAITING, Unit::Count, "Requests that wait for a running one");
    describe_gauge!(
        MEMORY_BYTES,
        Unit::Bytes,
        "Bytes of the memory store that are taken or reserved"
    );
    describe_gauge!(
        MEMORY_ENTRIES,
        Unit::Count,
        "Claims and records in the memory store"
    );
    describe_gauge!(
        NEAR_CACHE_BYTES,
        Unit::Bytes,
        "Bytes that copies of records take in the near cache"
    );
}

/// Counts a question to the near cache.
#[cfg(feature = "near-cache")]
pub(crate) fn near_cache_lookup(is_hit: bool) {
    let result = if is_hit { "hit" } else { "miss" };
    ::metrics::counter!(NEAR_CACHE_LOOKUPS, "result" => result).increment(1);
}
