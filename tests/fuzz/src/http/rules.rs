//! What holds for every request, whoever sends it.

use http::Uri;
use idempotent_runtime::Key;

use super::{Answer, KEPT, Sent, World};

/// All that a client can be told. 500 is not among them: whatever is sent, nobody has made a
/// mistake but the client.
const STATUSES: [u16; 13] = [
    200, 201, 400, 401, 404, 405, 408, 409, 411, 413, 415, 422, 503,
];

/// How much the attribute knows of a request before the handler's own extractors do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protection {
    /// One effect at most.
    Keyed,
    /// None at all.
    Refused,
    /// As many as requests.
    Unprotected,
    /// The route has no handler.
    Nowhere,
}

/// Sends the request twice at the same time, once more, and once with another body.
///
/// `answers` gives `None` where the framework's own types do not take a part of it.
pub(super) fn check(
    data: &[u8],
    world: &World,
    answers: impl Fn(&[Sent<'_>]) -> Option<Vec<Answer>>,
) {
    let sent = Sent::read(data);
    let Some(mut told) = answers(&[sent.clone(), sent.clone()]) else {
        return;
    };
    told.extend(answers(std::slice::from_ref(&sent)).expect("it was taken before"));
    let effects = world.effects();
    for answer in &told {
        assert!(STATUSES.contains(&answer.status), "{answer:?}");
        let ours = matches!(answer.status, 409 | 422);
        assert!(answer.is_problem || !ours, "{answer:?}");
    }
    let Some(protection) = protection(&sent) else {
        return world.forget();
    };
    let firsts = told.iter().filter(|answer| is_first(answer)).count();
    match protection {
        Protection::Keyed => {
            assert!(effects <= 1, "{effects} effects of one key: {told:?}");
            assert_eq!(firsts, effects, "{told:?}");
            if effects == 1 {
                check_retries(&told);
                check_another_body(&sent, world, answers);
            }
        }
        Protection::Refused | Protection::Nowhere => {
            assert_eq!(effects, 0, "{protection:?}: {told:?}");
            assert!(told.iter().all(|answer| answer.status >= 400), "{told:?}");
        }
        Protection::Unprotected => {
            assert_eq!(firsts, effects, "{told:?}");
            assert!(told.iter().all(|answer| !answer.is_replay));
        }
    }
    world.forget();
}

fn is_first(answer: &Answer) -> bool {
    answer.status == 201 && !answer.is_replay
}

/// One ran, and all others are told what came of it, or that it is still running.
fn check_retries(told: &[Answer]) {
    let first = told.iter().find(|answer| is_first(answer));
    let first = first.expect("one has run");
    let last = told.last().expect("three were sent");
    for answer in told.iter().filter(|answer| !is_first(answer)) {
        if answer.is_replay {
            assert_eq!((answer.status, &answer.body), (201, &first.body));
        } else {
            assert_eq!(answer.status, 409, "{answer:?}");
        }
    }
    // It was sent when all others had been answered.
    assert_eq!(last.is_replay, first.body.len() <= KEPT, "{last:?}");
}

/// The same key with another body: neither the effect nor the response of the first.
fn check_another_body(
    sent: &Sent<'_>,
    world: &World,
    answers: impl Fn(&[Sent<'_>]) -> Option<Vec<Answer>>,
) {
    let is_told_by_header = sent.all("idempotency-key").next().is_some();
    let target = String::from_utf8_lossy(sent.target);
    // One takes no body, and the other's fingerprint is a value.
    if !is_told_by_header || target.contains("/optional") || target.contains("/expression/") {
        return;
    }
    let mut other = sent.clone();
    other.body.push(b' ');
    let told = answers(&[other]).expect("it was taken before");
    assert_eq!(world.effects(), 1, "{told:?}");
    assert!(!told[0].is_replay, "{told:?}");
    assert!(matches!(told[0].status, 400 | 413 | 422), "{told:?}");
}

/// `None` for a path with escapes, of which each framework undoes others.
fn protection(sent: &Sent<'_>) -> Option<Protection> {
    let target = Uri::try_from(sent.target).ok()?;
    let path = target.path();
    let is_expression = path.starts_with("/expression/");
    let is_keyed = match path {
        "/required" | "/user" | "/optional" => false,
        "/derived" => true,
        _ if is_expression => true,
        _ if path.contains('%') => return None,
        _ => return Some(Protection::Nowhere),
    };
    if matches!(sent.method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE") {
        return Some(Protection::Unprotected);
    }
    let mut keys = sent.all("idempotency-key");
    let is_valid = match (keys.next(), keys.next()) {
        _ if is_expression => true,
        (None, _) if path == "/optional" => return Some(Protection::Unprotected),
        (None, _) => is_keyed,
        (Some(key), None) => Key::from_header(key).is_ok(),
        _ => false,
    };
    Some(if is_valid {
        Protection::Keyed
    } else {
        Protection::Refused
    })
}
