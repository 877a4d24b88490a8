//! What the engine asks of an outcome that it records.

use std::future::Future;

use crate::core::response::StoredResponse;

/// A response that can be recorded: `axum::response::Response` and `actix_web::HttpResponse`.
///
/// It is sealed: these are all there are. What a function returns is recorded by
/// [`Idempotency::once`](crate::Idempotency::once).
pub trait Recordable: sealed::Recordable {}

impl<R: sealed::Recordable> Recordable for R {}

pub(crate) mod sealed {
    use super::{Future, StoredResponse};

    pub trait Recordable: Sized {
        fn status(&self) -> u16;

        /// Gives the response back whole, with what is recorded of it.
        fn record(self, max_response: u64) -> impl Future<Output = (Self, StoredResponse)>;
    }
}
