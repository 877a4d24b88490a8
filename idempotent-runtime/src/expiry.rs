//! When a record expires, as clients are told it.

use std::time::{Duration, SystemTime};

/// The header that says when the record of a response expires, where
/// [`expires_header`](crate::IdempotencyBuilder::expires_header) is on.
pub const IDEMPOTENCY_EXPIRES: &str = "idempotency-expires";

/// The date of a record that is made now and lives for so long.
pub(crate) fn date(ttl: Duration) -> String {
    // No ttl is so long that the year has five digits, which no date of HTTP can have.
    const LONGEST: Duration = Duration::from_hours(366 * 24);
    httpdate::fmt_http_date(SystemTime::now() + ttl.min(LONGEST))
}
