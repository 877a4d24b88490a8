//! Telling the recorder what happened.

use std::{borrow::Borrow, future::Future, sync::Arc, time::Instant};

use ::metrics::{SharedString, counter, gauge, histogram};

use crate::{
    any_store::{AnyStore, CompleteError, StoreFuture},
    core::{record::Claim, response::StoredResponse},
    event::{Event, Outcome},
    runtime::Idempotency,
    store::{
        ClaimAnswer, Completion, Fence, Inspect, MemoryUsage, Notify, StoreError, Transactional,
    },
};

/// Counts what happened to a request, and what was measured of it.
pub(crate) fn request(event: &Event<'_>) {
    let operation = SharedString::from(Arc::<str>::from(event.label));
    counter!(
        super::REQUESTS,
        "operation" => operation.clone(),
        "outcome" => event.outcome.name(),
    )
    .increment(1);
    if let Some(time) = event.handler_time {
        histogram!(super::HANDLER_DURATION, "operation" => operation.clone()).record(time);
    }
    if let Some(time) = event.wait_time {
        histogram!(super::WAIT_DURATION, "operation" => operation.clone()).record(time);
    }
    if let Some(bytes) = event.response_bytes
        && !matches!(
            event.outcome,
            Outcome::Replayed | Outcome::WaitedThenReplayed
        )
    {
        #[expect(clippy::cast_precision_loss)] // No body is that large.
        histogram!(super::RESPONSE_SIZE, "operation" => operation).record(bytes as f64);
    }
}

/// Sets the gauges to what they are now.
pub(crate) fn gauges(idempotency: &Idempotency) {
    let MemoryUsage {
        bytes,
        entries,
        near_cache_bytes,
    } = idempotency.0.store.memory_usage();
    set(super::RUNNING, Some(idempotency.running() as u64));
    set(super::DETACHED, Some(idempotency.detached() as u64));
    set(super::WAITING, Some(idempotency.waiting() as u64));
    set(super::MEMORY_BYTES, bytes);
    set(super::MEMORY_ENTRIES, entries);
    set(super::NEAR_CACHE_BYTES, near_cache_bytes);
}

fn set(name: &'static str, value: Option<u64>) {
    if let Some(value) = value {
        #[expect(clippy::cast_precision_loss)] // Nothing counts that far.
        gauge!(name).set(value as f64);
    }
}

/// Counts a renewal that was given up, because the store did not answer in time.
pub(crate) fn renewal_timed_out() {
    failed("renew", "timeout");
}

fn failed(verb: &'static str, error: &'static str) {
    counter!(super::STORE_ERRORS, "verb" => verb, "error" => error).increment(1);
}

/// Measures a question to the store.
pub(crate) async fn timed<T, E: Borrow<StoreError>>(
    verb: &'static str,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let asked = Instant::now();
    let answer = answer.await;
    answered(verb, asked, &answer);
    answer
}

fn answered<T, E: Borrow<StoreError>>(verb: &'static str, asked: Instant, answer: &Result<T, E>) {
    histogram!(super::STORE_DURATION, "verb" => verb).record(asked.elapsed());
    if let Err(error) = answer {
        failed(
            verb,
            match error.borrow() {
                StoreError::Full => "full",
                StoreError::Unavailable(_) => "unavailable",
                StoreError::Unreadable(_) => "unreadable",
                StoreError::Unsupported => "unsupported",
            },
        );
    }
}

/// A store whose answers are measured.
pub(crate) struct Measured<S>(pub(crate) S);

impl<S> Measured<S> {
    fn measure<T: Send + 'static, E: Borrow<StoreError> + Send + 'static>(
        verb: &'static str,
        ask: impl FnOnce() -> StoreFuture<T, E>,
    ) -> StoreFuture<T, E> {
        let asked = Instant::now();
        match ask() {
            StoreFuture::Answered(answer) => {
                if let Some(answer) = &answer {
                    answered(verb, asked, answer);
                }
                StoreFuture::Answered(answer)
            }
            StoreFuture::Asked(answer) => StoreFuture::Asked(Box::pin(timed(verb, answer))),
        }
    }
}

impl<S: AnyStore> AnyStore for Measured<S> {
    fn claim(&self, claim: &Claim) -> StoreFuture<ClaimAnswer> {
        Self::measure("claim", || self.0.claim(claim))
    }

    fn complete(
        &self,
        claim: &Claim,
        response: StoredResponse,
    ) -> StoreFuture<Completion, CompleteError> {
        Self::measure("complete", || self.0.complete(claim, response))
    }

    fn release(&self, claim: Claim) -> StoreFuture<Fence> {
        Self::measure("release", || self.0.release(claim))
    }

    fn renew(&self, claim: Claim) -> StoreFuture<Fence> {
        Self::measure("renew", || self.0.renew(claim))
    }

    fn needs_lease(&self) -> bool {
        self.0.needs_lease()
    }

    fn abandon(&self, claim: &Claim) {
        self.0.abandon(claim);
    }

    fn as_notify(&self) -> Option<&dyn Notify> {
        self.0.as_notify()
    }

    fn as_transactional(&self) -> Option<&dyn Transactional> {
        self.0.as_transactional()
    }

    fn as_inspect(&self) -> Option<&dyn Inspect> {
        self.0.as_inspect()
    }

    fn memory_usage(&self) -> MemoryUsage {
        self.0.memory_usage()
    }
}
