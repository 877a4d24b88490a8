//! The same answers and verdicts as the client in JavaScript is tested with.

use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use idempotent_client::{IDEMPOTENCY_REPLAYED, Verdict, classify};
use serde::Deserialize;

const OUTCOMES: &str = include_str!("../../idempotent-client-js/test/outcomes.json");

#[derive(Debug, Deserialize)]
struct Outcome {
    status: u16,
    code: Option<String>,
    #[serde(default)]
    replayed: bool,
    verdict: String,
}

#[test]
fn answers_mean_the_same_to_all_clients() {
    let outcomes: Vec<Outcome> = serde_json::from_str(OUTCOMES).unwrap();
    assert!(outcomes.len() > 50, "{}", outcomes.len());
    for outcome in outcomes {
        let status = StatusCode::from_u16(outcome.status).unwrap();
        let mut headers = HeaderMap::new();
        if outcome.replayed {
            headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        }
        let mut body = String::new();
        if let Some(code) = &outcome.code {
            let problem = HeaderValue::from_static("application/problem+json");
            headers.insert(CONTENT_TYPE, problem);
            body = format!(r#"{{"code":"{code}"}}"#);
        }
        let verdict = match classify(status, &headers, body.as_bytes()) {
            Verdict::Done => "done",
            Verdict::Refused => "refused",
            Verdict::Retry { .. } => "retry",
            Verdict::Uncertain => "uncertain",
            other => panic!("{other:?} is not in the table"),
        };
        assert_eq!(verdict, outcome.verdict, "{outcome:?}");
    }
}
