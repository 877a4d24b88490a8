//! How often, how long and how far apart.

use std::time::{Duration, SystemTime};

use retry_policies::{Jitter, RetryDecision, RetryPolicy as _, policies::ExponentialBackoff};

/// The longest interval, so that arithmetic on intervals cannot overflow.
const LONGEST_INTERVAL: Duration = Duration::from_hours(24);

/// How often and how long an operation is tried, and how long is waited between attempts.
///
/// Intervals grow exponentially, with full jitter: before the second attempt a random time up to
/// `min`, before the third up to twice that, and so on up to `max`. Where the server says
/// `Retry-After`, that is waited, and the jittered interval on top of it, so that those who were
/// told the same do not come back in the same moment.
///
/// ```
/// use std::time::Duration;
///
/// use idempotent_client::RetryPolicy;
///
/// let patient = RetryPolicy::default()
///     .max_attempts(20)
///     .max_time(Duration::from_mins(10))
///     .intervals(Duration::from_millis(500), Duration::from_mins(1));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RetryPolicy {
    max_attempts: u32,
    max_time: Duration,
    attempt_timeout: Duration,
    min_interval: Duration,
    max_interval: Duration,
}

impl Default for RetryPolicy {
    /// Eight attempts in two minutes, of 30 s each at most, 200 ms to 10 s apart.
    fn default() -> Self {
        Self {
            max_attempts: 8,
            max_time: Duration::from_mins(2),
            attempt_timeout: Duration::from_secs(30),
            min_interval: Duration::from_millis(200),
            max_interval: Duration::from_secs(10),
        }
    }
}

impl RetryPolicy {
    /// One attempt, and none after it. The key is kept all the same when its outcome is uncertain.
    pub fn never() -> Self {
        Self::default().max_attempts(1)
    }

    /// How many attempts are made at most, the first included; 0 is taken for 1.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// How long all attempts and the waits between them may take together, and the key store's step
    /// before them. An attempt that is out when this time is over is given up. The key store's step
    /// after the last attempt is not counted
    /// ([`Retry::key_store_timeout`](crate::Retry::key_store_timeout)).
    pub fn max_time(mut self, time: Duration) -> Self {
        self.max_time = time;
        self
    }

    /// How long one attempt may take, the response's body included. Beside a time-out of the HTTP
    /// client's own, the shorter one is in force.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// The longest wait before the second attempt, and the longest at all; of two values in the
    /// wrong order the first counts for both, and neither is longer than a day.
    pub fn intervals(mut self, min: Duration, max: Duration) -> Self {
        self.min_interval = min.min(LONGEST_INTERVAL);
        self.max_interval = max.clamp(self.min_interval, LONGEST_INTERVAL);
        self
    }

    pub(crate) fn total(&self) -> Duration {
        self.max_time
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.attempt_timeout
    }

    /// How long to wait after this many attempts; `None` when there were enough.
    pub(crate) fn wait(&self, attempts: u32, retry_after: Option<Duration>) -> Option<Duration> {
        let backoff = ExponentialBackoff::builder()
            .retry_bounds(self.min_interval, self.max_interval)
            .jitter(Jitter::Full)
            .build_with_max_retries(self.max_attempts - 1);
        let now = SystemTime::now();
        match backoff.should_retry(now, attempts.saturating_sub(1)) {
            RetryDecision::DoNotRetry => None,
            RetryDecision::Retry { execute_after } => {
                let backoff = execute_after.duration_since(now).unwrap_or_default();
                // The crate reads the clock once more, which may have gone on since.
                let backoff = backoff.min(self.max_interval);
                Some(retry_after.unwrap_or_default().saturating_add(backoff))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn longest_wait(policy: &RetryPolicy, attempts: u32) -> Duration {
        let waits = (0..500).map(|_| policy.wait(attempts, None).unwrap());
        waits.max().unwrap()
    }

    #[test]
    fn waits_are_jittered_and_grow_up_to_the_longest() {
        let policy = RetryPolicy::default()
            .max_attempts(100)
            .intervals(SECOND, 8 * SECOND);
        for (attempts, limit) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (60, 8)] {
            let limit = limit * SECOND;
            let longest = longest_wait(&policy, attempts);
            assert!(longest <= limit + Duration::from_millis(50), "{longest:?}");
            // Of 500 random ones none above three quarters: that does not happen.
            assert!(longest > limit.mul_f64(0.75), "{longest:?}");
        }
    }

    #[test]
    fn a_servers_wish_is_the_least_that_is_waited() {
        let policy = RetryPolicy::default().intervals(SECOND, SECOND);
        let wait = policy.wait(1, Some(7 * SECOND)).unwrap();
        assert!(wait >= 7 * SECOND && wait <= 8 * SECOND + Duration::from_millis(50));
        assert_eq!(policy.wait(1, Some(Duration::MAX)), Some(Duration::MAX));
    }

    #[test]
    fn there_is_an_end() {
        let policy = RetryPolicy::default().max_attempts(3);
        assert!(policy.wait(2, None).is_some());
        assert_eq!(policy.wait(3, None), None);
        assert_eq!(RetryPolicy::never().wait(1, None), None);
        assert_eq!(RetryPolicy::default().max_attempts(0).wait(1, None), None);
    }

    #[test]
    fn absurd_intervals_do_no_harm() {
        let policy = RetryPolicy::default()
            .max_attempts(u32::MAX)
            .intervals(Duration::MAX, Duration::ZERO);
        assert!(policy.wait(u32::MAX - 1, None).unwrap() <= LONGEST_INTERVAL);
    }
}
