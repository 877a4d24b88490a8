//! What an operator's requests say.

use serde::Deserialize;

use super::json::Refusal;
use crate::core::{response::StoredResponse, scope::Scope};

/// A record, named as a handler's request names it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LookUp {
    pub(super) operation: String,
    scope: Whose,
    pub(super) key: String,
    #[serde(default)]
    pub(super) response: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Whose {
    Global(Global),
    Caller(Caller),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Global {
    Global,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Caller {
    /// Absent where the attribute has an expression.
    name: Option<String>,
    value: String,
}

/// An outcome that was found out by hand.
#[derive(Deserialize)]
#[serde(untagged)]
enum Outcome {
    Value(Returned),
    Response(Answered),
}

/// What a function returned.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Returned {
    value: serde_json::Value,
}

/// What a handler answered.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answered {
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// The body, as text or as JSON.
    body: Option<String>,
    json: Option<serde_json::Value>,
}

impl LookUp {
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(body).map_err(|_| {
            Refusal::body(
                "it must be JSON such as {\"operation\": \"POST /payments\", \"scope\": {\"name\": \
                 \"user\", \"value\": \"alice\"}, \"key\": \"order-1\"}; the scope of an expression \
                 has no name, and that of all callers is \"global\"",
            )
        })
    }

    pub(super) fn scope(&self) -> Scope {
        match &self.scope {
            Whose::Global(Global::Global) => Scope::global(),
            Whose::Caller(Caller { name, value }) => match name {
                Some(name) => Scope::named(name.clone(), value.clone()),
                None => Scope::expression(value.clone()),
            },
        }
    }
}

/// The record of what a body describes.
pub(super) fn outcome(body: &[u8]) -> Result<StoredResponse, Refusal> {
    let outcome = serde_json::from_slice(body).map_err(|_| {
        Refusal::body(
            "it must be JSON such as {\"status\": 201, \"headers\": [[\"location\", \
             \"/payments/7\"]], \"json\": {\"id\": 7}}, or with \"body\", a text, for \"json\"; for a \
             function {\"value\": 7}",
        )
    })?;
    match outcome {
        Outcome::Response(outcome) => response(outcome),
        Outcome::Value(Returned { value }) => StoredResponse::value(&value)
            .map_err(|_| Refusal::body("its `value` cannot be recorded")),
    }
}

fn response(outcome: Answered) -> Result<StoredResponse, Refusal> {
    if !(200..=599).contains(&outcome.status) {
        return Err(Refusal::body("its `status` must be from 200 to 599"));
    }
    let is_token = |name: &str| {
        let others = b"!#$%&'*+-.^_`|~";
        let mut bytes = name.bytes();
        !name.is_empty() && bytes.all(|it| it.is_ascii_alphanumeric() || others.contains(&it))
    };
    let is_value = |value: &str| {
        value
            .bytes()
            .all(|it| it == b'\t' || !it.is_ascii_control())
    };
    let mut headers = outcome.headers;
    if !headers
        .iter()
        .all(|(name, value)| is_token(name) && is_value(value))
    {
        return Err(Refusal::body("one of its `headers` cannot be sent"));
    }
    let body = match (outcome.body, outcome.json) {
        (Some(_), Some(_)) => return Err(Refusal::body("it has both `body` and `json`")),
        (body, None) => body.unwrap_or_default(),
        (None, Some(json)) => {
            let named = |(name, _): &(String, String)| name.eq_ignore_ascii_case("content-type");
            if !headers.iter().any(named) {
                headers.push(("content-type".to_owned(), "application/json".to_owned()));
            }
            json.to_string()
        }
    };
    let headers: Vec<(String, &[u8])> = headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.as_bytes()))
        .collect();
    let headers: Vec<(&str, &[u8])> = headers
        .iter()
        .map(|(name, value)| (&**name, *value))
        .collect();
    Ok(StoredResponse::new(
        outcome.status,
        &headers,
        body.as_bytes(),
    ))
}
