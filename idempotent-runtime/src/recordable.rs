//! What the engine asks of an outcome that it records.

use std::{future::Future, pin::Pin};

use crate::core::response::StoredResponse;

/// A response that can be recorded: `axum::response::Response` and `actix_web::HttpResponse`.
///
/// It is sealed: these are all there are. What a function returns is recorded by
/// [`Idempotency::once`](crate::Idempotency::once).
pub trait Recordable: sealed::Recordable {}

impl<R: sealed::Recordable> Recordable for R {}

pub(crate) mod sealed {
    use super::{Future, Pin, StoredResponse};

    pub trait Recordable: Sized {
        fn status(&self) -> u16;

        /// Says when the record of the response expires, or says nothing of it.
        fn set_expires(&mut self, date: Option<&[u8]>);

        /// Gives the response back whole, with what is recorded of it.
        fn record(
            self,
            max_response: u64,
        ) -> Recording<Self, impl Future<Output = (Self, StoredResponse)>>;
    }

    /// A response that is being recorded.
    pub enum Recording<R, F> {
        /// Its body was there, as most are.
        Done(R, StoredResponse),
        /// Its body is still to come. In a box, so that the others need no room for it.
        #[cfg_attr(not(any(feature = "axum", feature = "actix")), allow(dead_code))]
        Reading(Pin<Box<F>>),
    }

    impl<R, F: Future<Output = (R, StoredResponse)>> Recording<R, F> {
        pub(crate) async fn whole(self) -> (R, StoredResponse) {
            match self {
                Self::Done(response, stored) => (response, stored),
                Self::Reading(reading) => reading.await,
            }
        }
    }
}
