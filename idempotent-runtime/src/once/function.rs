//! What the attribute makes of a function.

use std::{
    fmt,
    fmt::Display,
    future::Future,
    sync::{Arc, LazyLock},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{OnceBuilder, OnceError, OnceExecution};
use crate::{
    core::{key::Key, policy::Policy, scope::Scope},
    runtime::Idempotency,
};

/// A call of a function with the attribute.
pub struct FunctionCall(OnceBuilder);

impl FunctionCall {
    /// A call with the scope `"global"` and a key that is none: an expression says it.
    #[must_use]
    pub fn new(
        runtime: &(impl Runtime + ?Sized),
        operation: &'static str,
        policy: &'static Policy,
    ) -> Self {
        let once = runtime.runtime().once(operation, Scope::global(), "");
        let policy = policy.clone();
        Self(OnceBuilder { policy, ..once })
    }

    /// Whose key it is.
    #[must_use]
    pub fn scope(mut self, value: &(impl Display + ?Sized)) -> Self {
        self.0.scope = Scope::expression(value.to_string());
        self
    }

    /// The key.
    #[must_use]
    pub fn key(mut self, value: &(impl Display + ?Sized)) -> Self {
        self.0.key = Key::from_value(&value.to_string());
        self
    }

    /// What must be the same when a key is used again.
    #[must_use]
    pub fn fingerprint(self, value: &(impl Serialize + ?Sized)) -> Self {
        Self(self.0.payload(value))
    }

    /// Runs a function whose errors release the key.
    pub async fn release_errors<F>(
        self,
        function: impl FnOnce(OnceExecution<<F::Output as FunctionOutput>::Value>) -> F + Send + 'static,
    ) -> F::Output
    where
        F: Future<Output: FunctionOutput> + Send + 'static,
        <F::Output as FunctionOutput>::Value: Serialize + DeserializeOwned + Send + 'static,
        <F::Output as FunctionOutput>::Error: From<OnceError> + Send + 'static,
    {
        let called = self.0.try_run_with(|execution| async {
            let output = function(execution).await;
            output.into_result()
        });
        FunctionOutput::from_result(called.await.map(|once| once.value))
    }

    /// Runs a function whose errors are recorded.
    pub async fn record_errors<F>(
        self,
        function: impl FnOnce(OnceExecution<F::Output>) -> F + Send + 'static,
    ) -> F::Output
    where
        F: Future<Output: FunctionOutput + Serialize + DeserializeOwned + Send + 'static>
            + Send
            + 'static,
        <F::Output as FunctionOutput>::Error: From<OnceError>,
    {
        match self.0.run_with(function).await {
            Ok(once) => once.value,
            Err(error) => FunctionOutput::from_result(Err(error.into())),
        }
    }
}

impl fmt::Debug for FunctionCall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

/// What `runtime = …` may be.
#[diagnostic::on_unimplemented(
    message = "`runtime` cannot be a `{Self}`",
    label = "not an `Idempotency`",
    note = "write an expression over the function's arguments that is an `Idempotency`, such as \
            `state.idempotency`"
)]
pub trait Runtime {
    #[doc(hidden)]
    fn runtime(&self) -> &Idempotency;
}

impl Runtime for Idempotency {
    fn runtime(&self) -> &Idempotency {
        self
    }
}

impl<R: Runtime + ?Sized> Runtime for &R {
    fn runtime(&self) -> &Idempotency {
        R::runtime(self)
    }
}

impl<R: Runtime + ?Sized> Runtime for Arc<R> {
    fn runtime(&self) -> &Idempotency {
        R::runtime(self)
    }
}

impl<R: Runtime, F: FnOnce() -> R> Runtime for LazyLock<R, F> {
    fn runtime(&self) -> &Idempotency {
        R::runtime(self)
    }
}

/// What a function may return.
#[diagnostic::on_unimplemented(
    message = "a function with `#[idempotent(runtime = …)]` cannot return `{Self}`",
    label = "not a `Result`",
    note = "return a `Result` whose error type implements `From<idempotent_runtime::OnceError>`, \
            for the calls that are refused"
)]
pub trait FunctionOutput {
    #[doc(hidden)]
    type Value;
    #[doc(hidden)]
    type Error;

    #[doc(hidden)]
    fn into_result(self) -> Result<Self::Value, Self::Error>;

    #[doc(hidden)]
    fn from_result(result: Result<Self::Value, Self::Error>) -> Self;
}

impl<T, E> FunctionOutput for Result<T, E> {
    type Value = T;
    type Error = E;

    fn into_result(self) -> Self {
        self
    }

    fn from_result(result: Self) -> Self {
        result
    }
}
