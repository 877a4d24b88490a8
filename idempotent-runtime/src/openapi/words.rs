//! A policy in the words of an API's documentation.

use std::time::Duration;

use crate::core::{
    policy::{FingerprintPolicy, KeyPolicy, Policy, ScopePolicy, StatusSet},
    problem::Problem,
};

pub(super) const KEY: &str = "Names the operation: a new value for each operation, the same value \
     for each retry of it. 1 to 255 visible ASCII characters, such as a UUID; a structured-field \
     string (RFC 9651) may hold spaces as well.";

pub(super) const REPLAYED: &str = "`true` where this is the response to an earlier request with the \
     same key, sent again. A first response does not have it.";

pub(super) const EXPIRES: &str = "Until when the key names this operation, as an HTTP date: from then on \
     it names a new one. Not on a response after which the key is free.";

pub(super) const RETRY_AFTER: &str = "When to send the same request again, in seconds.";

pub(super) const LOCATION: &str = "With `response-not-kept`: the `Location` of the response that \
     was not kept, if it had one.";

/// One problem, as an item of a list.
pub(super) fn problem(problem: &Problem) -> String {
    let retry = if problem.is_retryable() {
        " Send the same request again."
    } else {
        ""
    };
    format!("* `{}`: {}.{retry}", problem.code(), problem.title())
}

/// What a client must know to retry.
pub(super) fn policy(policy: &Policy, has_body: bool) -> String {
    let first = match policy.key {
        KeyPolicy::Required => {
            "This operation is safe to retry: send an `Idempotency-Key`, a new one for each \
             operation and the same one for each retry of it."
        }
        KeyPolicy::Optional => {
            "This operation is safe to retry with an `Idempotency-Key`: a new one for each \
             operation and the same one for each retry of it. Without one, every request is an \
             operation of its own."
        }
        KeyPolicy::Derived => {
            "This operation is safe to retry: an `Idempotency-Key` names it, a new one for each \
             operation and the same one for each retry of it. Without one, the same request is the \
             same operation."
        }
        KeyPolicy::Expression => {
            "This operation is safe to retry: what it is about names it, and an `Idempotency-Key` \
             is not read."
        }
    };
    let mut sentences = vec![first.to_owned()];
    let scope = match policy.scope {
        ScopePolicy::Global => "All callers share the same keys.",
        ScopePolicy::Named(_) | ScopePolicy::Expression => "Each caller has keys of their own.",
    };
    sentences.push(scope.to_owned());
    sentences.push(format!(
        "What the operation answers, an error too, is kept for {} and sent again to every retry, \
         with `Idempotency-Replayed: true`; after that time the same request is a new operation.",
        duration(policy.ttl)
    ));
    if let Some(statuses) = statuses(policy.release_on) {
        sentences.push(format!(
            "A response with status {statuses} is not kept, and a retry starts anew."
        ));
    }
    sentences.push(match policy.wait {
        Some(wait) => format!(
            "A retry that comes while the first request is being processed waits for its response, \
             for {} at most, and is answered 409 `in-flight` if there is none by then.",
            duration(wait)
        ),
        None => "A retry that comes while the first request is being processed is answered 409 \
                 `in-flight`."
            .to_owned(),
    });
    let differs = match policy.fingerprint {
        FingerprintPolicy::Request if has_body => Some(
            "A request with the same key and another path, query or body is answered 422 `key-reused`.",
        ),
        FingerprintPolicy::Request => Some(
            "A request with the same key and another path or query is answered 422 `key-reused`.",
        ),
        FingerprintPolicy::Expression => Some(
            "A request with the same key that asks for something else is answered 422 `key-reused`.",
        ),
        FingerprintPolicy::None => None,
    };
    sentences.extend(differs.map(str::to_owned));
    sentences.join(" ")
}

/// Such as `24 hours`, `7 days` or `1 hour 30 minutes`.
fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [
        ("day", 24 * 60 * 60 * 1000),
        ("hour", 60 * 60 * 1000),
        ("minute", 60 * 1000),
        ("second", 1000),
        ("millisecond", 1),
    ];
    // A day is what people call 24 hours.
    let skipped = usize::from(millis < 2 * 24 * 60 * 60 * 1000);
    let mut left = millis;
    let mut parts = Vec::new();
    for (unit, length) in &units[skipped..] {
        let count = left / length;
        left %= length;
        match count {
            0 => {}
            1 => parts.push(format!("1 {unit}")),
            _ => parts.push(format!("{count} {unit}s")),
        }
    }
    parts.join(" ")
}

/// Such as `429, 503 or 520 to 529`.
fn statuses(set: StatusSet) -> Option<String> {
    let mut names: Vec<String> = set
        .0
        .iter()
        .map(|(first, last)| match (first, last) {
            (first, last) if first == last => first.to_string(),
            (400, 499) => "4xx".to_owned(),
            (500, 599) => "5xx".to_owned(),
            (first, last) => format!("{first} to {last}"),
        })
        .collect();
    let last = names.pop()?;
    Some(if names.is_empty() {
        last
    } else {
        format!("{} or {last}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_as_people_say_it() {
        let said = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!(said(24 * 3600), "24 hours");
        assert_eq!(said(7 * 24 * 3600), "7 days");
        assert_eq!(said(2 * 24 * 3600 + 3600), "2 days 1 hour");
        assert_eq!(said(5400), "1 hour 30 minutes");
        assert_eq!(said(60), "1 minute");
        assert_eq!(
            duration(Duration::from_millis(1500)),
            "1 second 500 milliseconds"
        );
    }

    #[test]
    fn statuses_are_listed() {
        let said = |set| statuses(StatusSet(set));
        assert_eq!(said(&[]), None);
        assert_eq!(said(&[(503, 503)]).as_deref(), Some("503"));
        assert_eq!(
            said(&[(429, 429), (503, 503), (500, 599)]).as_deref(),
            Some("429, 503 or 5xx")
        );
    }
}
