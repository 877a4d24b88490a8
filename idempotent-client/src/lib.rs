//! Makes retrying POST and PATCH safe, for clients of servers that understand `Idempotency-Key`.
//!
//! A client that lost the answer to `POST /payments` cannot know whether it paid. With one key for
//! each payment, the same in all its attempts, it sends the same again and is told what became of
//! the first. This crate makes the key, keeps it, sends it, knows which answers are worth another
//! attempt, and knows when the outcome is certain.
//!
//! ```
//! # #[cfg(feature = "reqwest")] mod example {
//! use idempotent_client::{ErrorExt, IdempotencyMiddleware, ResponseExt};
//!
//! # async fn pay() -> Result<(), Box<dyn std::error::Error>> {
//! let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new())
//!     .with(IdempotencyMiddleware::default())
//!     .build();
//! let payment = r#"{"user":"alice","amount":100,"currency":"USD"}"#;
//! match client.post("https://api.example/payments").body(payment).send().await {
//!     Ok(response) => {
//!         let attempts = response.idempotency().expect("a POST has attempts");
//!         println!("{}, certain: {}", response.status(), attempts.is_certain());
//!     }
//!     Err(error) => {
//!         let is_uncertain = error.idempotency().is_some_and(|error| error.is_uncertain());
//!         println!("{error}; it may have been done: {is_uncertain}");
//!     }
//! }
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! # What is sent again
//!
//! Nothing came back: no connection, a time-out, a response that broke off. 409 `in-flight`, 408,
//! 425, 429, 502, 503, 504, after `Retry-After` if it is given. [`RetryPolicy`] says how often and
//! how far apart. Nothing else: [`classify()`] has the table. A 5xx with
//! `Idempotency-Replayed: true` was recorded and will not change.
//!
//! # When the outcome is certain
//!
//! After a 2xx; any replay below 500; a 4xx that will not change, **if no earlier attempt with
//! that key was left uncertain**. Until then each attempt must have the same key. A 401 that comes after a
//! lost attempt says nothing about that attempt, because a server looks at the credentials before
//! it looks for a record; giving the key up would let the next attempt pay once more. An error and
//! a response say which it is: [`Attempts::is_certain`], [`OperationError::is_uncertain`].
//!
//! Also a connection that could not be made is counted as a lost attempt: whether what failed was
//! the first connection or one to the end of a redirection cannot be seen from here.
//!
//! # Across restarts
//!
//! [`Operation::named`] and a [`FileKeyStore`] keep the key of an operation from before its first
//! attempt. Start the program again, run the operation by the same name, and it is the same
//! operation: also if it was done, and the program was killed before it had made a note of that.
//! Then it gets the recorded response, until the key expires. [`KeyStore::forget`] starts over.
//! [`key_store`] tells what happens when several run it at once, and when a key has become too old.
//!
//! ```
//! # #[cfg(feature = "reqwest")] mod example {
//! use idempotent_client::{FileKeyStore, IdempotencyMiddleware, Operation, Retry};
//!
//! # async fn pay() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = FileKeyStore::open("keys.json").await?;
//! let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new())
//!     .with(IdempotencyMiddleware::new(Retry::default().key_store(keys)))
//!     .build();
//! let request = client
//!     .post("https://api.example/payments")
//!     .with_extension(Operation::named("invoice-4711"));
//! # let _ = request;
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! # Other HTTP clients
//!
//! [`Retry::run`] and [`retry()`] do the same with whatever sends a request. [`classify()`] is the
//! judgement alone. They need no reqwest: `default-features = false`.
//!
//! # Cancellation
//!
//! An operation whose future is dropped counts as ended uncertainly. Its key is kept if it has a
//! name. Without a name the key is gone with the future, unless the caller made it
//! ([`Operation::with_key`]).
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `reqwest` (default) | `IdempotencyMiddleware` for reqwest 0.13, over reqwest-middleware 0.5 |
//!
//! TLS, HTTP/2 and the like are features of reqwest, which the application chooses on its own
//! dependency.

mod attempts;
mod classify;
mod error;
mod key;
pub mod key_store;
#[cfg(feature = "reqwest")]
mod middleware;
mod operation;
mod policy;
mod retry;

#[cfg(feature = "reqwest")]
pub use crate::middleware::{
    ErrorExt, IDEMPOTENCY_KEY, IdempotencyMiddleware, ReqwestOperationError, ResponseExt,
};
pub use crate::{
    attempts::Attempts,
    classify::{IDEMPOTENCY_REPLAYED, Verdict, classify, is_replay},
    error::{Failure, OperationError},
    key::{IdempotencyKey, InvalidKey},
    key_store::{FileKeyStore, KeyFate, KeyStore, KeyStoreError, MemoryKeyStore, RunOutcome},
    operation::Operation,
    policy::RetryPolicy,
    retry::{Answer, Attempt, Retry, retry},
};
