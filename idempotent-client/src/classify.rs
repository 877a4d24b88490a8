//! What an answer says about its operation. Pure: no I/O, no clock but the argument.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use serde::Deserialize;

/// The header that marks a response as the recorded one of an earlier attempt.
pub const IDEMPOTENCY_REPLAYED: &str = "idempotency-replayed";

/// What an answer says about its operation, and what to do.
///
/// A network error and a time-out are no answers; they are as [`Verdict::Retry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The operation's outcome is known, and this is it. Its key is done with.
    Done,
    /// This attempt was refused and did nothing. It says nothing about **earlier** attempts with
    /// the same key: a server looks at the credentials before it looks for a record. So the key is
    /// done with only if no earlier attempt was left uncertain.
    Refused,
    /// The outcome is not known yet. Send the same request with the same key again.
    Retry {
        /// How long the server asks to wait.
        after: Option<Duration>,
    },
    /// The outcome is not known, and asking again will not tell. Keep the key, and find out.
    Uncertain,
}

/// What an answer to an attempt says, from its status, its headers and its body.
///
/// | answer | verdict |
/// |---|---|
/// | 2xx, 409 `response-not-kept` | `Done` |
/// | any other with `Idempotency-Replayed: true`, below 500 | `Done` |
/// | a 5xx with `Idempotency-Replayed: true`: recorded, and will not change | `Uncertain` |
/// | 422 `key-reused`, 409 `outcome-unknown`, replayed or not | `Uncertain` |
/// | 409 `in-flight`, 408, 425, 429, 502, 503, 504 | `Retry` |
/// | 409 without a known `code`, which other servers send for `in-flight` | `Uncertain` |
/// | any other 4xx | `Refused` |
/// | any other: 500, a redirection that was not followed (it may lead to a login page), … | `Uncertain` |
///
/// `code` is the member of that name of a problem document (RFC 9457). The body of no other answer
/// than a 409 or 422 is looked at, so `&[]` does for the others. The body must have been decoded.
/// Of a date in `Retry-After` the time until then is taken by this machine's clock.
///
/// ```
/// use std::time::Duration;
///
/// use http::{HeaderMap, StatusCode};
/// use idempotent_client::{Verdict, classify};
///
/// let headers = HeaderMap::from_iter([("retry-after".parse()?, "3".parse()?)]);
/// let verdict = classify(StatusCode::CONFLICT, &headers, br#"{"code":"in-flight"}"#);
/// let after = Some(Duration::from_secs(3));
/// assert_eq!(verdict, Verdict::Retry { after });
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Verdict {
    classify_at(status, headers, body, SystemTime::now())
}

/// Whether a response is marked as the recorded one of an earlier attempt.
#[must_use]
pub fn is_replay(headers: &HeaderMap) -> bool {
    headers
        .get(IDEMPOTENCY_REPLAYED)
        .is_some_and(|value| value == "true")
}

#[allow(clippy::match_same_arms)] // A line takes precedence over those below it.
fn classify_at(status: StatusCode, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Verdict {
    let is_replay = is_replay(headers);
    let retry = || Verdict::Retry {
        after: retry_after(headers, now),
    };
    match (status.as_u16(), code(status, body)) {
        (200..=299, _) | (409, Some(Code::ResponseNotKept)) => Verdict::Done,
        (_, Some(Code::KeyReused | Code::OutcomeUnknown)) => Verdict::Uncertain,
        // A gateway recorded what another server told it; the gateway's record will not change.
        (409, Some(Code::InFlight)) if is_replay => Verdict::Uncertain,
        (409, Some(Code::InFlight)) => retry(),
        (500.., _) if is_replay => Verdict::Uncertain,
        _ if is_replay => Verdict::Done,
        (408 | 425 | 429 | 502 | 503 | 504, _) => retry(),
        (409, _) => Verdict::Uncertain,
        (400..=499, _) => Verdict::Refused,
        _ => Verdict::Uncertain,
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Code {
    InFlight,
    OutcomeUnknown,
    ResponseNotKept,
    KeyReused,
}

/// The problem's `code`, where it makes a difference.
fn code(status: StatusCode, body: &[u8]) -> Option<Code> {
    #[derive(Deserialize)]
    struct Problem {
        code: Code,
    }

    if status != StatusCode::CONFLICT && status != StatusCode::UNPROCESSABLE_ENTITY {
        return None;
    }
    let problem: Problem = serde_json::from_slice(body).ok()?;
    Some(problem.code)
}

/// Seconds or a date (RFC 9110 §10.2.3). What is neither is as if it were not there.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits that are no number are too many of them.
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const RETRY: Verdict = Verdict::Retry { after: None };

    fn verdict(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Verdict {
        let headers = headers.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        let status = StatusCode::from_u16(status).unwrap();
        let now = httpdate::parse_http_date("Sun, 22 Nov 2026 12:00:00 GMT").unwrap();
        classify_at(status, &headers.collect(), body.as_bytes(), now)
    }

    fn problem(status: u16, code: &str, retryable: bool) -> String {
        format!(
            r#"{{"type":"urn:problem:idempotency:{code}","title":"…","status":{status},"detail":"…","code":"{code}","retryable":{retryable}}}"#
        )
    }

    #[test]
    fn every_problem_of_the_protocol() {
        for (status, code, retryable, expected) in [
            (400, "key-missing", false, Verdict::Refused),
            (400, "key-invalid", false, Verdict::Refused),
            (401, "caller-unknown", false, Verdict::Refused),
            (409, "in-flight", true, RETRY),
            (409, "outcome-unknown", false, Verdict::Uncertain),
            (409, "response-not-kept", false, Verdict::Done),
            (413, "body-too-large", false, Verdict::Refused),
            (422, "key-reused", false, Verdict::Uncertain),
            (500, "misconfigured", false, Verdict::Uncertain),
            (503, "store-unavailable", true, RETRY),
            (503, "store-full", true, RETRY),
        ] {
            let headers = [("content-type", "application/problem+json")];
            let body = problem(status, code, retryable);
            assert_eq!(verdict(status, &headers, &body), expected, "{code}");
        }
    }

    #[test]
    fn what_proxies_answer_without_a_problem_document() {
        for body in ["", "<html>Bad Gateway</html>", "{}", r#"{"code":7}"#] {
            for status in [408, 425, 429, 502, 503, 504] {
                assert_eq!(verdict(status, &[], body), RETRY, "{status} {body}");
            }
            assert_eq!(verdict(409, &[], body), Verdict::Uncertain, "{body}");
            assert_eq!(verdict(422, &[], body), Verdict::Refused, "{body}");
            for status in [500, 501, 505, 599] {
                assert_eq!(verdict(status, &[], body), Verdict::Uncertain, "{status}");
            }
        }
    }

    #[test]
    fn what_a_handler_answers() {
        for status in [200, 201, 202, 204] {
            assert_eq!(verdict(status, &[], ""), Verdict::Done, "{status}");
        }
        for status in [400, 401, 402, 403, 404, 410, 413, 415, 422, 451] {
            assert_eq!(verdict(status, &[], ""), Verdict::Refused, "{status}");
        }
        for status in [301, 302, 303, 307, 308] {
            assert_eq!(verdict(status, &[], ""), Verdict::Uncertain, "{status}");
        }
    }

    #[test]
    fn a_replay_is_the_outcome_unless_it_is_a_failure() {
        let replayed = [("idempotency-replayed", "true")];
        for status in [200, 201, 302, 400, 404, 408, 409, 422, 429] {
            assert_eq!(verdict(status, &replayed, ""), Verdict::Done, "{status}");
        }
        for status in [500, 502, 503, 504] {
            let verdict = verdict(status, &replayed, "");
            assert_eq!(verdict, Verdict::Uncertain, "{status}");
        }
        for (status, code) in [
            (422, "key-reused"),
            (409, "outcome-unknown"),
            (409, "in-flight"),
        ] {
            let verdict = verdict(status, &replayed, &problem(status, code, false));
            assert_eq!(verdict, Verdict::Uncertain, "a gateway's record of {code}");
        }
        assert_eq!(
            verdict(503, &[("idempotency-replayed", "false")], ""),
            RETRY
        );
    }

    #[test]
    fn a_code_counts_with_its_status_only() {
        let body = problem(409, "in-flight", true);
        assert_eq!(verdict(400, &[], &body), Verdict::Refused);
        assert_eq!(verdict(422, &[], &body), Verdict::Refused);
        let body = problem(409, "response-not-kept", false);
        assert_eq!(verdict(422, &[], &body), Verdict::Refused);
    }

    #[test]
    fn retry_after_in_seconds_and_as_a_date() {
        for (value, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 22 Nov 2026 12:00:30 GMT", Some(30)),
            ("Sun, 22 Nov 2026 11:00:00 GMT", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            let after = seconds.map(Duration::from_secs);
            let headers = [("retry-after", value)];
            assert_eq!(
                verdict(503, &headers, ""),
                Verdict::Retry { after },
                "{value}"
            );
        }
    }
}
