//! Ready-made resolvers for [`IdempotencyBuilder::scope`](crate::IdempotencyBuilder::scope).
//!
//! ```
//! use idempotent_runtime::{Idempotency, MemoryStore, scopes};
//!
//! #[derive(Clone)]
//! struct Tenant { id: u64 }
//!
//! let idempotency = Idempotency::builder(MemoryStore::default())
//!     .scope("user", scopes::bearer_token())
//!     .scope("device", scopes::header("x-device-id"))
//!     .scope("tenant", scopes::extension(|tenant: &Tenant| tenant.id.to_string()))
//!     .build();
//! ```

use crate::web::RequestHead;

/// The caller is the value of this header. Whoever can send the header can be any caller: use it
/// for a header that a gateway sets and strips from outside requests.
pub fn header(
    name: impl Into<String>,
) -> impl Fn(&RequestHead<'_>) -> Option<String> + Send + Sync + 'static {
    let name = name.into();
    move |request| {
        let value = request.header(&name)?;
        (!value.is_empty()).then(|| value.to_owned())
    }
}

/// The caller is who holds this bearer token (RFC 6750 §2.1). Verifying the token is the
/// handler's business. A token that changes between retries, as a short-lived access token does,
/// makes another caller: then take the subject from an [`extension`] instead.
pub fn bearer_token() -> impl Fn(&RequestHead<'_>) -> Option<String> + Send + Sync + 'static {
    |request| {
        let (scheme, token) = request.header("authorization")?.split_once(' ')?;
        let token = token.trim_matches(' ');
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
    }
}

/// The caller is taken from a value that an authentication middleware left in the request's
/// extensions; without one the caller is unknown.
pub fn extension<T: Clone + Send + Sync + 'static>(
    caller: impl Fn(&T) -> String + Send + Sync + 'static,
) -> impl Fn(&RequestHead<'_>) -> Option<String> + Send + Sync + 'static {
    move |request| request.extension::<T>().as_ref().map(&caller)
}
