//! How long is waited, and for what.

use super::*;
use crate::RetryPolicy;

#[tokio::test(start_paused = true)]
async fn waits_as_long_as_the_server_says() {
    let start = Instant::now();
    once([After(503, "30"), Event::Answer(201)]).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(30));
    assert!(start.elapsed() < Duration::from_secs(31));
}

#[tokio::test(start_paused = true)]
async fn does_not_wait_for_what_comes_too_late() {
    let start = Instant::now();
    let (status, attempts) = once([After(503, "3600")]).await.unwrap();
    assert_eq!((status, attempts.count()), (503, 1));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_and_no_operation_takes_longer_than_allowed() {
    let start = Instant::now();
    let policy = RetryPolicy::default()
        .max_attempts(3)
        .attempt_timeout(Duration::from_secs(5));
    let script = Script::new([Silence; 3]);
    let (retry, operation) = (Retry::new(policy.clone()), Operation::new());
    let error = script.run(&retry, &operation).await.unwrap_err();
    assert!(error.is_uncertain());
    assert!(start.elapsed() >= Duration::from_secs(15));
    assert!(start.elapsed() <= Duration::from_secs(16));

    let start = Instant::now();
    let policy = policy.max_time(Duration::from_secs(3));
    let script = Script::new([Silence]);
    let error = script.run(&Retry::new(policy), &operation).await;
    assert!(error.unwrap_err().is_uncertain());
    assert_eq!(start.elapsed(), Duration::from_secs(3));
}
