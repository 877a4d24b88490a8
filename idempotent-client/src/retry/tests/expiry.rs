//! Keys that expire, during the run or while the machine sleeps.

use std::{cell::Cell, io};

use super::*;
use crate::{MemoryKeyStore, RetryPolicy};

#[tokio::test(start_paused = true)]
async fn an_expired_key_is_not_sent() {
    let store = MemoryKeyStore::new();
    let retry = Retry::new(RetryPolicy::never()).key_store(store.clone());
    let operation = Operation::named("invoice-4711");
    let script = Script::new([Lost]);
    script.run(&retry, &operation).await.unwrap_err();
    let expired = retry.key_ttl(Duration::ZERO);
    let error = Script::new([]).run(&expired, &operation).await.unwrap_err();
    assert!(error.is_uncertain());
    let OperationError::KeyStore { source, .. } = error else {
        panic!("{error}");
    };
    assert!(source.to_string().contains("`forget`"), "{source}");
    store.forget("invoice-4711").await.unwrap();
    let script_again = Script::new([Event::Answer(201)]);
    let retry = expired.key_ttl(DEFAULT_KEY_TTL);
    let (_, again) = script_again.run(&retry, &operation).await.unwrap();
    assert_ne!(*again.key(), script.keys()[0]);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_not_sent_after_it_has_expired_during_the_run() {
    let retry = Retry::new(RetryPolicy::default().max_attempts(100))
        .key_store(MemoryKeyStore::new())
        .key_ttl(Duration::from_secs(10));
    let start = Instant::now();
    let script = Script::new([Silence]);
    let error = script.run(&retry, &Operation::named("invoice-4711")).await;
    assert!(error.unwrap_err().is_uncertain());
    assert!(start.elapsed() <= Duration::from_secs(10));
}

thread_local! {
    static SLEPT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// With the clock on the wall of a machine that slept.
fn with_moved_clock() -> Retry {
    Retry {
        clock: || SystemTime::now() + SLEPT.get(),
        ..Retry::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_not_sent_after_the_machine_has_slept() {
    for operation in [Operation::new(), Operation::named("invoice-4711")] {
        SLEPT.set(Duration::ZERO);
        let retry = with_moved_clock().key_store(MemoryKeyStore::new());
        let mut sent = 0;
        let told: Result<((), Attempts), _> = retry
            .run(&operation, |_| {
                sent += 1;
                SLEPT.set(Duration::from_hours(48));
                async { Err(Failure::Lost(io::Error::from(io::ErrorKind::TimedOut))) }
            })
            .await;
        let error = told.unwrap_err();
        assert_eq!(sent, 1);
        assert!(error.is_uncertain(), "{error}");
        let attempts = error.attempts().unwrap();
        assert!(attempts.count() == 1 && attempts.is_key_kept());
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_sleeps_while_it_waits_is_told_why_nothing_is_sent() {
    let retry = with_moved_clock();
    let sleeping = tokio::spawn(async {
        // Half-way through the wait that the server asks for.
        sleep(Duration::from_secs(5)).await;
        SLEPT.set(Duration::from_hours(48));
    });
    let script = Script::new([After(503, "10")]);
    let told = script.run(&retry, &Operation::new()).await;
    sleeping.await.unwrap();
    let error = told.unwrap_err();
    let OperationError::Unanswered { attempts, source } = error else {
        panic!("{error}");
    };
    assert!(matches!(source, Failure::KeyExpired), "{source}");
    assert!(!attempts.is_certain() && attempts.is_key_kept());
    assert_eq!(attempts.count(), 1);
}
