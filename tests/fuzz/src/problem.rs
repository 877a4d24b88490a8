//! The answers that are the framework's own.

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use http::HeaderValue;
use idempotent_runtime::{Key, Problem, ProblemSettings};
use serde_json::Value;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    base: &'a str,
    documentation: Option<&'a str>,
    which: u8,
    key: &'a [u8],
    status: u16,
    location: Option<&'a [u8]>,
    retry_after: u64,
}

/// A document of fixed members, whatever its parts are.
pub(crate) fn problem(data: &[u8]) {
    let Ok(input) = Input::arbitrary(&mut Unstructured::new(data)) else {
        return;
    };
    let mut settings = ProblemSettings::default();
    input.base.clone_into(&mut settings.base);
    settings.documentation = input.documentation.map(str::to_owned);
    let Some(problem) = which(&input) else {
        return;
    };
    let rendered = problem.render(&settings);

    assert_eq!(rendered.status, problem.status());
    let document: Value = serde_json::from_slice(&rendered.body).expect("it is JSON");
    let members = document.as_object().expect("an object");
    assert_eq!(
        document["type"],
        format!("{}{}", input.base, problem.code())
    );
    assert_eq!(document["status"], problem.status());
    assert_eq!(document["code"], problem.code());
    assert_eq!(document["retryable"], problem.is_retryable());
    let original = matches!(problem, Problem::ResponseNotKept { .. });
    assert_eq!(document.get("originalStatus").is_some(), original);
    assert_eq!(members.len(), 6 + usize::from(original));
    // A line break of somebody else's would be seen in a log.
    assert!(rendered.body.iter().all(|byte| *byte >= b' '));

    let named = |wanted: &str| {
        let mut found = rendered.headers.iter().filter(|(name, _)| *name == wanted);
        let first = found.next().map(|(_, value)| value.clone());
        assert!(found.next().is_none(), "{wanted} is there once");
        first
    };
    let content_type = Bytes::from_static(b"application/problem+json");
    assert_eq!(named("content-type"), Some(content_type));
    let seconds = problem.retry_after().map(|seconds| seconds.to_string());
    assert_eq!(named("retry-after"), seconds.map(Bytes::from));
    assert!(problem.retry_after().is_some() == problem.is_retryable());
    if let Some(link) = named("link") {
        check_link(&link, input.documentation.unwrap_or_default());
    }
    assert!(rendered.headers.len() <= 4);
}

/// One target, and nothing after the parameter: an address must not end it and start another.
fn check_link(link: &[u8], address: &str) {
    assert!(HeaderValue::from_bytes(link).is_ok());
    let target = link
        .strip_prefix(b"<")
        .and_then(|link| link.strip_suffix(b">; rel=\"describedby\""));
    let target = target.expect("a link with one relation");
    assert!(target.iter().all(u8::is_ascii_graphic));
    assert!(!target.iter().any(|byte| b"<>\"".contains(byte)));
    if address
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b":/.-%".contains(&byte))
    {
        assert_eq!(target, address.as_bytes());
    }
}

fn which(input: &Input<'_>) -> Option<Problem> {
    Some(match input.which % 11 {
        0 => Problem::KeyMissing,
        1 => Problem::KeyInvalid(Key::from_header(input.key).err()?),
        2 => Problem::CallerUnknown,
        3 => Problem::InFlight {
            retry_after: input.retry_after,
        },
        4 => Problem::OutcomeUnknown,
        5 => Problem::ResponseNotKept {
            status: input.status,
            location: input.location.map(Bytes::copy_from_slice),
        },
        6 => Problem::BodyTooLarge,
        7 => Problem::KeyReused,
        8 => Problem::Misconfigured,
        9 => Problem::StoreUnavailable,
        _ => Problem::StoreFull,
    })
}
