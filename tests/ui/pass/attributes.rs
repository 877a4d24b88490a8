//! Other attributes, above and below.

#![deny(deprecated, unused_must_use)]

use axum::{Json, Router, debug_handler, extract::State, http::HeaderMap, routing::post};
use idempotent_runtime::idempotent;
use tracing::instrument;

#[idempotent(scope = "global")]
#[debug_handler]
async fn debugged(State(limit): State<u64>, Json(amount): Json<u64>) -> Json<u64> {
    Json(limit.min(amount))
}

#[idempotent(scope = "global")]
#[axum::debug_handler(state = u64)]
#[tracing::instrument(skip_all, fields(amount))]
async fn debugged_and_traced(_headers: HeaderMap, Json(amount): Json<u64>) -> Json<u64> {
    tracing::Span::current().record("amount", amount);
    Json(amount)
}

#[idempotent(scope = "global")]
#[instrument(err(Debug), ret, level = "debug")]
async fn traced_below(State(limit): State<u64>, body: String) -> Result<String, String> {
    if body.len() as u64 > limit {
        return Err(body);
    }
    Ok(body)
}

#[instrument(skip_all, fields(limit = 9))]
#[idempotent(scope = "global")]
async fn traced_above(State(limit): State<u64>, mut body: String) -> Result<String, String> {
    body.truncate(usize::try_from(limit).map_err(|error| error.to_string())?);
    Ok(body)
}

/// Documented above.
#[idempotent(scope = "global")]
/// Documented below.
#[doc(alias = "pay")]
#[must_use = "a handler does nothing by itself"]
#[inline]
async fn documented() -> &'static str {
    "paid"
}

#[allow(non_snake_case)]
#[idempotent(scope = "global")]
#[allow(unused_variables, clippy::needless_pass_by_value)]
#[warn(unused_mut)]
async fn Allowed(Json(never_read): Json<u64>) -> &'static str {
    "paid"
}

#[idempotent(scope = "global")]
#[expect(unused_variables, reason = "to be written")]
async fn expected(Json(never_read): Json<u64>) -> &'static str {
    "paid"
}

#[idempotent(scope = "global")]
#[deprecated = "mount `documented`"]
async fn deprecated_below() -> &'static str {
    "paid"
}

#[deprecated(note = "mount `documented`")]
#[idempotent(scope = "global")]
async fn deprecated_above() -> &'static str {
    "paid"
}

#[idempotent(scope = "global")]
#[cfg(any())]
async fn chosen(missing: Missing) -> &'static str {
    "below"
}

#[cfg(any())]
#[idempotent(scope = "global")]
async fn chosen(missing: Missing) -> &'static str {
    "above"
}

#[cfg(not(doctest))]
#[idempotent(scope = "global")]
#[cfg(not(doctest))]
#[cfg_attr(all(), allow(unused_variables))]
async fn chosen(never_read: String) -> &'static str {
    "chosen"
}

struct Api;

impl Api {
    #[idempotent(scope = "global")]
    #[cfg(any())]
    async fn chosen() -> Self {
        "below"
    }

    #[idempotent(scope = "global")]
    #[cfg(not(doctest))]
    #[instrument(skip_all)]
    async fn chosen(State(limit): State<u64>) -> Json<u64> {
        Json(Self::limit().min(limit))
    }

    fn limit() -> u64 {
        9
    }
}

fn main() {
    #[allow(deprecated)]
    let _: Router = Router::new()
        .route("/1", post(debugged))
        .route("/2", post(debugged_and_traced))
        .route("/3", post(traced_below))
        .route("/4", post(traced_above))
        .route("/5", post(documented))
        .route("/6", post(Allowed))
        .route("/7", post(expected))
        .route("/8", post(deprecated_below))
        .route("/9", post(deprecated_above))
        .route("/10", post(chosen))
        .route("/11", post(Api::chosen))
        .with_state(9);
}
