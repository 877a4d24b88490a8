//! The `#[idempotent]` attribute. Depend on `idempotent-runtime`, which re-exports it.

mod args;
mod check;
mod errors;
mod expand;
#[cfg(test)]
mod expansions;
mod fallback;
mod handler;
mod model;

use proc_macro2::TokenStream;

/// Makes a handler of axum or actix-web, or a function that is none, safe to call again.
///
/// A client sends an `Idempotency-Key` with its request. The first request with a key runs the
/// handler, and its response is recorded; a retry with the same key is given the recorded response
/// and does not run the handler again.
///
/// ```
/// # use axum::{Json, extract::{FromRequestParts, State}, http::{StatusCode, request::Parts}};
/// # #[derive(serde::Deserialize)] struct NewPayment;
/// # #[derive(serde::Serialize)] struct Payment;
/// # #[derive(Clone)] struct Db;
/// # impl Db { async fn charge(&self, _: u64, _: NewPayment) -> Result<Payment, StatusCode> { Ok(Payment) } }
/// # struct User { id: u64 }
/// # impl<S: Sync> FromRequestParts<S> for User {
/// #     type Rejection = StatusCode;
/// #     async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, StatusCode> { Ok(Self { id: 1 }) }
/// # }
/// # type AppError = StatusCode;
/// use idempotent_runtime::idempotent;
///
/// #[idempotent(scope = user.id)]
/// async fn create(
///     State(db): State<Db>,
///     user: User,
///     Json(new): Json<NewPayment>,
/// ) -> Result<(StatusCode, Json<Payment>), AppError> {
///     let payment = db.charge(user.id, new).await?;
///     Ok((StatusCode::CREATED, Json(payment)))
/// }
/// # let _: axum::Router<Db> = axum::Router::new().route("/payments", axum::routing::post(create));
/// ```
///
/// The framework is found from the types: a handler is axum's if its result can be a response
/// there, and actix-web's if its result can be one there. The handler's extractors run before
/// anything else, for a retry as well, so a recorded response is only ever given to a request that
/// they let through. `GET`, `HEAD`, `OPTIONS` and `TRACE` are never recorded.
///
/// # Arguments
///
/// | argument | values | default |
/// |---|---|---|
/// | [`scope`](#scope-whose-key-it-is) | `"global"`, `"<name>"`, an expression | none: it must be written |
/// | `ttl` | how long a response is kept: `"30m"`, `"1h30m"`, `"7d"`, … from 1 s to 366 d | `"24h"` |
/// | [`key`](#key-where-the-key-comes-from) | `"required"`, `"optional"`, `"derived"`, an expression | `"required"` |
/// | [`fingerprint`](#fingerprint-what-a-retry-must-repeat) | `"request"`, `"none"`, an expression | `"request"` |
/// | `wait` | how long a retry waits for a run that has not ended: up to `"5m"` | absent: it is answered 409 at once |
/// | `lease` | how long a run is believed in without a sign of life: 1 s to 1 h | `"30s"` |
/// | `on_lost` | `"rerun"`, `"refuse"`: what a retry gets when the process that ran the handler is gone | `"rerun"` |
/// | `release_on(…)` | statuses that say "not done, try again" and free the key: codes, `4xx`, `5xx` | `release_on(429, 503)` |
/// | `store_down` | `"refuse"`, `"run"`: whether to run the handler unprotected while the store cannot be asked | `"refuse"` |
/// | `max_response` | the largest body that is kept: `"64KiB"`, `"1MiB"`, … | `"1MiB"` |
/// | `operation` | a name that stays the same when the route changes | method and route pattern |
/// | [`runtime`](#on-a-function-that-is-no-handler) | makes it a function that is no handler: an expression that is an `Idempotency` | absent |
/// | `errors` | `"release"`, `"record"`: what becomes of a function's `Err` | `"release"` |
/// | `crate` | the path of `idempotent_runtime`, if it is not that | `::idempotent_runtime` |
///
/// Whatever can be checked while compiling is. An expression sees the handler's parameters under
/// the names that its patterns give them, each by reference, after all extractors have run.
///
/// ## `scope`: whose key it is
///
/// Two callers may happen to send the same key, and one must never be shown what the other was
/// answered. So the scope has no default.
///
/// * `scope = user.id` takes the caller from the handler's own arguments.
/// * `scope = "user"` asks the resolver that is registered on the runtime under this name.
/// * `scope = "global"` is one namespace for all callers, for handlers that only one party calls.
///
/// ## `key`: where the key comes from
///
/// * `"required"`: from the `Idempotency-Key` header; a request without it is refused.
/// * `"optional"`: a request without the header runs the handler unprotected.
/// * `"derived"`: without the header, the same request of the same caller has the same key.
/// * `key = event.id`: the header is not read; for webhooks, whose body names the event.
///
/// ## `fingerprint`: what a retry must repeat
///
/// A key that comes again with another fingerprint is refused with 422, for it was used for
/// something else.
///
/// * `"request"`: method, path, query and body.
/// * `"none"`: nothing; whatever comes with a known key is taken for a retry.
/// * `fingerprint = (new.amount, &new.currency)`: the values that make the request what it is, as
///   anything that implements `serde::Serialize`.
///
/// # On a function that is no handler
///
/// With `runtime` the attribute stands on an ordinary `async fn`, such as what a consumer calls for
/// a message. Whoever has its arguments calls it as before; for one key it runs once.
///
/// ```
/// # use std::sync::Arc;
/// # use idempotent_runtime::{Idempotency, OnceError};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Receipt;
/// # struct Paid { id: String, amount: i64 }
/// # struct State { idempotency: Idempotency }
/// # enum Error { Once(OnceError) }
/// # impl From<OnceError> for Error { fn from(error: OnceError) -> Self { Self::Once(error) } }
/// # async fn charge(_: &State, _: i64) -> Result<Receipt, Error> { Ok(Receipt) }
/// use idempotent_runtime::idempotent;
///
/// #[idempotent(runtime = state.idempotency, key = event.id, scope = "global", ttl = "7d")]
/// async fn on_paid(state: Arc<State>, event: Paid) -> Result<Receipt, Error> {
///     charge(&state, event.amount).await
/// }
/// ```
///
/// * `runtime` is an expression over the parameters, or a `static`: an `Idempotency`, a reference to
///   one, or one in an `Arc` or a `LazyLock`.
/// * `key` and `scope` must be written. There is no request, so `key` is an expression, `scope` is
///   `"global"` or an expression, and `fingerprint` is `"none"`, which is the default, or an
///   expression.
/// * The result is a `Result<T, E>` with `T: Serialize + DeserializeOwned`, and
///   `E: From<OnceError>` for the calls that are refused.
/// * `errors = "release"`: an `Err` says that **nothing has happened**, and the next call runs the
///   function again. A function that can fail after its effect must not say so: it takes
///   `errors = "record"`, which replays an `Err` like any other outcome (then `E` is serialised as
///   well), or commits effect and record together.
/// * A parameter of type `OnceExecution<…>` is not passed in: it is the handle on the run, with
///   `commit_in`.
/// * It runs to its end even if nobody waits for it any more, so it is `Send`, and owns its
///   parameters: an `Arc<State>`, and not a `&State`.
/// * `operation` is the function's path, such as `shop::payments::on_paid`, unless it is written.
///   Write it before the function is moved or renamed, or what was done is done again. Two functions
///   of one name in one module, such as associated functions of two types, need an `operation` each.
///
/// # With other attributes
///
/// A route macro such as `#[post("/payments")]` may stand above or below, and so may
/// `#[instrument]`. `#[debug_handler]` must stand below, where it is moved along with the handler.
/// Lint levels below the attribute stay in force for the handler.
///
/// When axum's router refuses a handler without naming the argument that is no extractor,
/// `#[axum::debug_handler]` below the attribute names it.
///
/// # In an `impl` block
///
/// A handler can be an associated function, but cannot take `self`. One that names `Self` anywhere
/// is moved into a hidden associated function beside it, so the block must be an inherent one.
/// In a generic `impl`, a handler that uses the block's parameters without naming `Self` says that
/// it belongs there with `where Self: Sized`:
///
/// ```
/// # use axum::{extract::State, http::StatusCode};
/// # use idempotent_runtime::idempotent;
/// # trait Repository: Clone + Send + Sync + 'static {
/// #     fn create(&self) -> impl Future<Output = StatusCode> + Send;
/// # }
/// # struct Payments<R>(R);
/// impl<R: Repository> Payments<R> {
///     #[idempotent(scope = "user")]
///     async fn create(State(repository): State<R>) -> StatusCode
///     where
///         Self: Sized,
///     {
///         repository.create().await
///     }
/// }
/// ```
#[proc_macro_attribute]
pub fn idempotent(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    apply(args.into(), item.into()).into()
}

fn apply(args: TokenStream, item: TokenStream) -> TokenStream {
    match check::check(args::parse(args), handler::parse(item.clone())) {
        Ok(checked) => expand::expand(&checked),
        Err(errors) => fallback::fallback(&errors, item),
    }
}
