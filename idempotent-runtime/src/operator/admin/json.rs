//! What an operator's requests are answered with.

use std::{
    error::Error,
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value, json};

use crate::{
    clock::Timestamp,
    core::{problem::ProblemSettings, response::StoredResponse},
    operator::OperatorError,
    store::{Inspection, Page, RecordState, StoreError},
};

/// An answer, ready to be sent, beside `Cache-Control: no-store`.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Vec<u8>,
}

impl Answered {
    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json", value)
    }

    pub(super) fn nothing() -> Self {
        Self {
            status: 204,
            headers: vec![NO_STORE],
            body: Vec::new(),
        }
    }

    fn new(status: u16, content_type: &'static str, value: &Value) -> Self {
        Self {
            status,
            headers: vec![("content-type", content_type), NO_STORE],
            body: value.to_string().into_bytes(),
        }
    }
}

const NO_STORE: (&str, &str) = ("cache-control", "no-store");

/// Why an operator's request was refused.
pub(super) struct Refusal {
    status: u16,
    code: &'static str,
    title: &'static str,
    detail: String,
    header: Option<(&'static str, &'static str)>,
}

impl Refusal {
    fn new(status: u16, code: &'static str, title: &'static str, detail: &str) -> Self {
        Self {
            status,
            code,
            title,
            detail: detail.to_owned(),
            header: None,
        }
    }

    pub(super) fn unauthorized() -> Self {
        let detail = "Say who you are, as the application wants it: with a bearer token, for \
                      instance. Nothing was looked at.";
        let mut refusal = Self::new(401, "unauthorized", "Operators only", detail);
        refusal.header = Some(("www-authenticate", "Bearer"));
        refusal
    }

    pub(super) fn method(allowed: &'static str) -> Self {
        let (title, detail) = (
            "Another method is needed",
            "`Allow` names those that there are.",
        );
        let mut refusal = Self::new(405, "method-not-allowed", title, detail);
        refusal.header = Some(("allow", allowed));
        refusal
    }

    pub(super) fn no_such_path() -> Self {
        let detail = "There are `look-up`, `records/{id}`, `records/{id}/complete`, `lost` and \
                      `running`.";
        Self::new(404, "no-such-path", "There is no such path", detail)
    }

    pub(super) fn body(detail: &str) -> Self {
        Self::new(
            400,
            "body-invalid",
            "The body is not what this needs",
            detail,
        )
    }

    pub(super) fn query(detail: &str) -> Self {
        Self::new(
            400,
            "query-invalid",
            "The query is not what this needs",
            detail,
        )
    }

    pub(super) fn invalid(error: &dyn Error) -> Self {
        let title = "A name is not what this needs";
        Self::new(400, "name-invalid", title, &error.to_string())
    }

    /// As a problem document (RFC 9457).
    pub(super) fn answered(&self, settings: &ProblemSettings) -> Answered {
        let document = json!({
            "type": format!("{}{}", settings.base, self.code),
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        });
        let mut answered = Answered::new(self.status, "application/problem+json", &document);
        answered.headers.extend(self.header);
        answered
    }
}

impl From<OperatorError> for Refusal {
    fn from(error: OperatorError) -> Self {
        let (status, code, title) = match &error {
            OperatorError::KeyInvalid(_) => (400, "key-invalid", "This is no key"),
            OperatorError::NotFound => (404, "not-found", "Nothing is there"),
            OperatorError::StillRunning => (409, "still-running", "Its handler runs"),
            OperatorError::AlreadyDone => (409, "already-done", "It has an outcome already"),
            OperatorError::Unsupported => (501, "unsupported", "The store cannot do this"),
            OperatorError::Store(StoreError::Unreadable(_)) => {
                (500, "record-unreadable", "What is there cannot be read")
            }
            OperatorError::Store(StoreError::Full) => {
                (503, "store-full", "No room for another idempotency record")
            }
            OperatorError::Store(_) => (
                503,
                "store-unavailable",
                "Idempotency records are unavailable",
            ),
        };
        if let Some(source) = error.source().filter(|_| status >= 500) {
            tracing::error!(error = source, "an operator's act failed");
        }
        Self::new(status, code, title, &error.to_string())
    }
}

/// A page of a listing.
pub(super) fn page(page: &Page) -> Value {
    let claims: Vec<Value> = page
        .claims
        .iter()
        .map(|claim| record(claim, false))
        .collect();
    json!({ "claims": claims, "next": page.next.map(|next| next.to_string()) })
}

/// What is under an id; with what is recorded of the response, or only its measures.
pub(super) fn record(found: &Inspection, with_response: bool) -> Value {
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
    put("record", found.id.to_string().into());
    put("shortHash", found.id.short_hash().to_string().into());
    put("state", found.state.name().into());
    put("fingerprint", short(found.fingerprint.as_bytes()).into());
    put("now", time(found.now));
    put("claimedAt", found.claimed_at.map_or(Value::Null, time));
    put("attempts", found.attempts.into());
    match &found.state {
        RecordState::Running { lease_ends } => {
            put("leaseEnds", lease_ends.map_or(Value::Null, time));
        }
        RecordState::Lost { since, expires_at } => {
            put("lostSince", time(*since));
            put("expiresAt", time(*expires_at));
        }
        RecordState::Done {
            completed_at,
            expires_at,
            response,
        } => {
            put("completedAt", completed_at.map_or(Value::Null, time));
            put("expiresAt", time(*expires_at));
            put("response", recorded(response, with_response));
        }
    }
    members.into()
}

fn recorded(response: &StoredResponse, whole: bool) -> Value {
    let headers: Vec<_> = response.headers().collect();
    let body = response.body();
    let mut recorded = json!({
        "status": response.status(),
        "headerCount": headers.len(),
        "bodyBytes": body.len(),
        "bodyKept": !response.is_tombstone(),
    });
    if whole {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| json!([name, String::from_utf8_lossy(value)]))
            .collect();
        recorded["headers"] = headers.into();
        match std::str::from_utf8(&body) {
            Ok(text) => recorded["body"] = text.into(),
            Err(_) => recorded["bodyHex"] = hex(&body).into(),
        }
    }
    recorded
}

/// As RFC 3339 writes it.
fn time(time: Timestamp) -> Value {
    /// The end of the year 9999, after which there is no such text.
    const LAST: u64 = 253_402_300_799_999;
    let since_epoch = Duration::from_millis(time.as_millis().min(LAST));
    let time = humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since_epoch);
    time.to_string().into()
}

/// The beginning of a hash, as logs have it.
fn short(hash: &[u8; 32]) -> String {
    hex(&hash[..6])
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}"); // Writing to a `String` does not fail.
    }
    text
}
