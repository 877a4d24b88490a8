//! The answers that are ours and not the handler's, as problem documents (RFC 9457).

use std::{borrow::Cow, fmt::Write as _};

use bytes::Bytes;
use serde::Serialize;

use super::{key::KeyError, response::StoredResponse};

/// Where a problem's `type` and documentation live.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProblemSettings {
    /// What the `type` of a document starts with; `urn:problem:idempotency:` by default.
    pub base: String,
    /// Where the API's clients can read about its use of keys.
    pub documentation: Option<String>,
}

impl Default for ProblemSettings {
    fn default() -> Self {
        Self {
            base: "urn:problem:idempotency:".to_owned(),
            documentation: None,
        }
    }
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A key is required and the request has none.
    KeyMissing,
    /// The key's value is not one.
    KeyInvalid(KeyError),
    /// The scope's resolver does not know the caller.
    CallerUnknown,
    /// The same operation is running now.
    InFlight {
        /// When to try again, in seconds.
        retry_after: u64,
    },
    /// The run was lost and must not be repeated.
    OutcomeUnknown,
    /// The operation was done; its response was too large or a stream, and is gone.
    ResponseNotKept {
        /// The status of the response.
        status: u16,
        /// The response's `Location`.
        location: Option<Bytes>,
    },
    /// The request's body is over the framework's limit.
    BodyTooLarge,
    /// The key was used for another request.
    KeyReused,
    /// The application is not set up.
    Misconfigured,
    /// The store could not be asked.
    StoreUnavailable,
    /// The store has no room for another record.
    StoreFull,
}

/// A problem ready to be sent: status, headers, body.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RenderedProblem {
    /// What it says.
    pub problem: Problem,
    /// The status code.
    pub status: u16,
    /// The headers, in lower case.
    pub headers: Vec<(&'static str, Bytes)>,
    /// The document, as JSON.
    pub body: Vec<u8>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    retryable: bool,
    #[serde(rename = "originalStatus", skip_serializing_if = "Option::is_none")]
    original_status: Option<u16>,
}

/// How long a client waits that was refused because of the store, in seconds.
const STORE_RETRY_AFTER: u64 = 1;

impl Problem {
    /// The problem of a record whose body was not kept.
    pub(crate) fn not_kept(tombstone: &StoredResponse) -> Self {
        let mut headers = tombstone.headers();
        let location = headers.find(|(name, _)| name.eq_ignore_ascii_case("location"));
        let location = location.map(|(_, value)| value);
        Self::ResponseNotKept {
            status: tombstone.status(),
            location,
        }
    }

    /// The stable name of the problem: the document's `code`, and the end of its `type`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.words().1
    }

    /// What kind of problem it is, in words: the document's `title`.
    #[cfg(feature = "openapi")]
    pub(crate) const fn title(&self) -> &'static str {
        self.words().2
    }

    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.words().0
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::InFlight { .. } | Self::StoreUnavailable | Self::StoreFull
        )
    }

    /// When to try again, in seconds.
    #[must_use]
    pub const fn retry_after(&self) -> Option<u64> {
        match self {
            Self::InFlight { retry_after } => Some(*retry_after),
            Self::StoreUnavailable | Self::StoreFull => Some(STORE_RETRY_AFTER),
            _ => None,
        }
    }

    /// The problem as a document (RFC 9457), ready to be sent.
    #[must_use]
    pub fn render(&self, settings: &ProblemSettings) -> RenderedProblem {
        let (status, code, title, detail) = self.words();
        let detail = match self {
            Self::KeyInvalid(error) => Cow::Owned(format!("{error}; {detail}")),
            _ => Cow::Borrowed(detail),
        };
        let original_status = match self {
            Self::ResponseNotKept { status, .. } => Some(*status),
            _ => None,
        };
        let document = Document {
            r#type: format!("{}{code}", settings.base),
            title,
            status,
            detail: &detail,
            code,
            retryable: self.is_retryable(),
            original_status,
        };
        let mut headers = vec![(
            "content-type",
            Bytes::from_static(b"application/problem+json"),
        )];
        if let Some(seconds) = self.retry_after() {
            headers.push(("retry-after", seconds.to_string().into()));
        }
        if let Self::ResponseNotKept {
            location: Some(location),
            ..
        } = self
        {
            headers.push(("location", location.clone()));
        }
        if let Some(address) = &settings.documentation {
            let address = uri(address);
            headers.push(("link", format!("<{address}>; rel=\"describedby\"").into()));
        }
        RenderedProblem {
            problem: self.clone(),
            status,
            headers,
            // Strings and numbers always serialise.
            body: serde_json::to_vec(&document).unwrap_or_default(),
        }
    }

    /// Status, code, title, detail.
    const fn words(&self) -> (u16, &'static str, &'static str, &'static str) {
        match self {
            Self::KeyMissing => (
                400,
                "key-missing",
                "Idempotency-Key is missing",
                "This operation needs an Idempotency-Key header: a new value for each operation, \
                 the same value for each retry of it.",
            ),
            Self::KeyInvalid(_) => (
                400,
                "key-invalid",
                "Idempotency-Key is not valid",
                "send one key of 1 to 255 visible ASCII characters, such as a UUID.",
            ),
            Self::CallerUnknown => (
                401,
                "caller-unknown",
                "The caller is unknown",
                "An Idempotency-Key belongs to a caller, and this request does not say who calls.",
            ),
            Self::InFlight { .. } => (
                409,
                "in-flight",
                "The same operation is still running",
                "A request with this Idempotency-Key is being processed. Send the same request \
                 again after the time in Retry-After to get its outcome.",
            ),
            Self::OutcomeUnknown => (
                409,
                "outcome-unknown",
                "The outcome is unknown",
                "The first request with this Idempotency-Key ended without an outcome. Find out \
                 whether it took effect before you start over with a new key.",
            ),
            Self::ResponseNotKept { .. } => (
                409,
                "response-not-kept",
                "Done, but the response was not kept",
                "The operation with this Idempotency-Key was done, once. Its response could not \
                 be kept; originalStatus and Location, where present, are those of the response.",
            ),
            Self::BodyTooLarge => (
                413,
                "body-too-large",
                "The request body is too large",
                "The body is over the limit of this operation. This request has done nothing.",
            ),
            Self::KeyReused => (
                422,
                "key-reused",
                "Idempotency-Key was used for another request",
                "This Idempotency-Key belongs to a request with another method, path, query or \
                 body. Send that request again, or use a new key.",
            ),
            Self::Misconfigured => (
                500,
                "misconfigured",
                "The server is not set up for this operation",
                "This request has done nothing. The server's log says what is missing.",
            ),
            Self::StoreUnavailable => (
                503,
                "store-unavailable",
                "Idempotency records are unavailable",
                "This request has done nothing, because the operation could not be protected \
                 against being done twice. Whether an earlier one has is not known. Send the same \
                 request again.",
            ),
            Self::StoreFull => (
                503,
                "store-full",
                "No room for another idempotency record",
                "This request has done nothing, because the operation could not be protected \
                 against being done twice. Send the same request again.",
            ),
        }
    }
}

/// The address with everything escaped that would end a link's target, or a header: what is no
/// character of a URI (RFC 3986 §2).
fn uri(address: &str) -> String {
    let mut uri = String::with_capacity(address.len());
    for byte in address.bytes() {
        if byte.is_ascii_graphic() && !b"<>\"\\^`{|}".contains(&byte) {
            uri.push(byte.into());
        } else {
            // Nothing written to a string fails.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(problem: &Problem, settings: &ProblemSettings) -> serde_json::Value {
        serde_json::from_slice(&problem.render(settings).body).unwrap()
    }

    #[test]
    fn a_response_that_was_not_kept_tells_its_location_and_no_other_header() {
        let location: [(&str, &[u8]); 1] = [("location", b"/payments/7")];
        let tombstone = StoredResponse::tombstone(201, &location);
        let location_of = |tombstone: &StoredResponse| match Problem::not_kept(tombstone) {
            Problem::ResponseNotKept { location, .. } => location.map(|value| value.to_vec()),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            location_of(&tombstone).as_deref(),
            Some(&b"/payments/7"[..])
        );
        // One that was dated when an operator or the application told it.
        let dated = StoredResponse::tombstone(201, &[]);
        let dated = dated.with_header("idempotency-expires", b"Sun, 29 Nov 2026 05:00:38 GMT");
        assert_eq!(location_of(&dated), None);
    }

    #[test]
    fn a_document_has_the_members_of_rfc_9457_and_ours() {
        let document = document(
            &Problem::InFlight { retry_after: 7 },
            &ProblemSettings::default(),
        );
        assert_eq!(document["type"], "urn:problem:idempotency:in-flight");
        assert_eq!(document["status"], 409);
        assert_eq!(document["code"], "in-flight");
        assert_eq!(document["retryable"], true);
        assert!(document["title"].is_string() && document["detail"].is_string());
        assert!(document.get("originalStatus").is_none());
    }

    #[test]
    fn base_and_documentation_are_settings() {
        let settings = ProblemSettings {
            base: "https://api.example/problems/".to_owned(),
            documentation: Some("https://api.example/idempotency".to_owned()),
        };
        let rendered = Problem::KeyMissing.render(&settings);
        assert!(rendered.headers.contains(&(
            "link",
            Bytes::from_static(b"<https://api.example/idempotency>; rel=\"describedby\""),
        )));
        assert_eq!(
            document(&Problem::KeyMissing, &settings)["type"],
            "https://api.example/problems/key-missing"
        );
    }

    #[test]
    fn a_documentation_address_is_one_target_whatever_is_in_it() {
        let settings = ProblemSettings {
            documentation: Some("/\u{fc}ber>; rel=\"next\",\r\n</x".to_owned()),
            ..ProblemSettings::default()
        };
        let rendered = Problem::KeyMissing.render(&settings);
        let link = b"</%C3%BCber%3E;%20rel=%22next%22,%0D%0A%3C/x>; rel=\"describedby\"";
        let link = ("link", Bytes::from_static(link));
        assert!(rendered.headers.contains(&link));
    }

    #[test]
    fn an_invalid_key_is_told_why() {
        let document = document(
            &Problem::KeyInvalid(KeyError::TooLong),
            &ProblemSettings::default(),
        );
        let detail = document["detail"].as_str().unwrap();
        assert!(detail.contains("longer than 255"), "{detail}");
    }

    #[test]
    fn what_was_done_is_told_with_status_and_location() {
        let problem = Problem::ResponseNotKept {
            status: 201,
            location: Some(Bytes::from_static(b"/payments/1")),
        };
        let rendered = problem.render(&ProblemSettings::default());
        assert!(
            rendered
                .headers
                .contains(&("location", Bytes::from_static(b"/payments/1")))
        );
        assert_eq!(
            document(&problem, &ProblemSettings::default())["originalStatus"],
            201
        );
    }
}
