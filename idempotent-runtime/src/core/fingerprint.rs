//! What was asked for under a key: the same key with another fingerprint is a mistake of the
//! client's, never a replay.

use std::fmt;

use memchr::memmem;
use serde_json::Value;

use super::record::TupleHasher;

/// BLAKE3 over the length-prefixed tuple of method, path and query, and body.
///
/// Headers are not part of it. Nor is the boundary of `multipart/form-data`, which a browser
/// draws anew for every attempt.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The one fingerprint of all requests to a handler with `fingerprint = "none"`.
    pub const NONE: Self = Self([0; 32]);

    /// The fingerprint of a request.
    #[must_use]
    pub fn of_request(
        method: &str,
        path_and_query: &str,
        content_type: Option<&[u8]>,
        body: &[u8],
    ) -> Self {
        let mut tuple = TupleHasher::new();
        tuple.field(method.as_bytes());
        tuple.field(path_and_query.as_bytes());
        match content_type.and_then(boundary) {
            None => tuple.field(body),
            Some(boundary) => {
                let delimiter = [b"--", boundary].concat();
                let mut start = 0;
                for end in memmem::find_iter(body, &delimiter) {
                    // In the middle of a line it is what somebody typed.
                    if end == 0 || body[end - 1] == b'\n' {
                        tuple.field(&body[start..end]);
                        start = end + delimiter.len();
                    }
                }
                tuple.field(&body[start..]);
            }
        }
        Self(tuple.finish())
    }

    /// The fingerprint of `fingerprint = <expression>`: the value takes the place of query and
    /// body, the method and the path stay part of it.
    ///
    /// Members of maps count in the order of their names, so that a value means the same however
    /// its maps happen to iterate.
    #[must_use]
    pub fn of_value(method: &str, path: &str, value: &Value) -> Self {
        let mut tuple = TupleHasher::new();
        tuple.field(method.as_bytes());
        tuple.field(path.as_bytes());
        hash_value(&mut tuple, value);
        Self(tuple.finish())
    }

    /// The fingerprint of a call of a function, with the value that its caller says must be the
    /// same. No request has it: none is without a method.
    #[must_use]
    pub fn of_call(payload: Option<&Value>) -> Self {
        Self::of_value("", "", payload.unwrap_or(&Value::Null))
    }

    /// A fingerprint that was made before, as a store kept it.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The fingerprint's 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(formatter, "Fingerprint({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

fn hash_value(tuple: &mut TupleHasher, value: &Value) {
    match value {
        Value::Array(items) => {
            tuple.field(b"array");
            tuple.field(&(items.len() as u64).to_le_bytes());
            for item in items {
                hash_value(tuple, item);
            }
        }
        Value::Object(members) => {
            tuple.field(b"object");
            tuple.field(&(members.len() as u64).to_le_bytes());
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            for (name, value) in members {
                tuple.field(name.as_bytes());
                hash_value(tuple, value);
            }
        }
        Value::String(text) => {
            tuple.field(b"string");
            tuple.field(text.as_bytes());
        }
        // Their texts are distinct from each other, and from the tags above.
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            tuple.field(value.to_string().as_bytes());
        }
    }
}

/// The `boundary` parameter of a `multipart/form-data` content type (RFC 2046 §5.1.1).
fn boundary(content_type: &[u8]) -> Option<&[u8]> {
    let content_type = content_type.trim_ascii_start();
    let (media_type, parameters) =
        content_type.split_at(memchr::memchr(b';', content_type).unwrap_or(content_type.len()));
    if !media_type
        .trim_ascii_end()
        .eq_ignore_ascii_case(b"multipart/form-data")
    {
        return None;
    }
    let mut rest = parameters;
    while let Some(parameter) = rest.strip_prefix(b";") {
        let parameter = parameter.trim_ascii_start();
        let equals = memchr::memchr2(b'=', b';', parameter)?;
        let name = &parameter[..equals];
        let value = parameter.get(equals..)?.strip_prefix(b"=");
        let Some(value) = value else {
            rest = &parameter[equals..];
            continue;
        };
        let (value, after) = if let Some(value) = value.strip_prefix(b"\"") {
            // A boundary's characters need no escapes inside the quotes.
            let end = memchr::memchr(b'"', value)?;
            (&value[..end], value[end + 1..].trim_ascii_start())
        } else {
            let end = memchr::memchr(b';', value).unwrap_or(value.len());
            let (value, after) = value.split_at(end);
            (value.trim_ascii_end(), after)
        };
        if name.eq_ignore_ascii_case(b"boundary") {
            return (!value.is_empty()).then_some(value);
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plain(method: &str, path_and_query: &str, body: &[u8]) -> Fingerprint {
        Fingerprint::of_request(method, path_and_query, None, body)
    }

    #[test]
    fn method_path_query_and_body_count_and_cannot_be_shifted() {
        let all = [
            plain("POST", "/a?b=1", b"body"),
            plain("PUT", "/a?b=1", b"body"),
            plain("POST", "/a?b=2", b"body"),
            plain("POST", "/a", b"body"),
            plain("POST", "/a?b=1", b"Body"),
            plain("POST", "/a?b=1b", b"ody"),
            plain("POST", "/a?b=1", b""),
        ];
        for (index, left) in all.iter().enumerate() {
            assert!(all[index + 1..].iter().all(|right| left != right));
        }
    }

    fn form(boundary: &str, quoted: bool, value: &str) -> Fingerprint {
        let content_type = if quoted {
            format!("Multipart/Form-Data; charset=utf-8; boundary=\"{boundary}\"; x=y")
        } else {
            format!("multipart/form-data;boundary={boundary}")
        };
        let body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{value}\r\n--{boundary}--\r\n"
        );
        Fingerprint::of_request("POST", "/", Some(content_type.as_bytes()), body.as_bytes())
    }

    #[test]
    fn the_boundary_of_a_form_is_not_part_of_it_and_its_values_are() {
        assert_eq!(form("one", false, "1"), form("another", false, "1"));
        assert_eq!(form("one", true, "1"), form("another", false, "1"));
        assert_ne!(form("one", false, "1"), form("one", false, "2"));
        assert_ne!(form("one", false, "1--one"), form("two", false, "1--two"));
    }

    #[test]
    fn only_a_form_has_a_boundary() {
        for content_type in [
            "application/json",
            "multipart/mixed; boundary=b",
            "multipart/form-data",
            "multipart/form-data; boundary",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"b",
            "multipart/form-data; charset=utf-8",
        ] {
            assert_eq!(boundary(content_type.as_bytes()), None, "{content_type}");
        }
        for content_type in [
            "multipart/form-data; boundary=b",
            "multipart/form-data; flag; boundary=b",
            "multipart/form-data; x=\";\" ; BOUNDARY=b ; y=z",
            " multipart/form-data ;boundary=\"b\"",
        ] {
            assert_eq!(
                boundary(content_type.as_bytes()),
                Some(&b"b"[..]),
                "{content_type}"
            );
        }
    }

    #[test]
    fn a_value_counts_by_its_content() {
        let of = |value: &Value| Fingerprint::of_value("POST", "/a", value);
        assert_eq!(
            of(&json!({"a": 1, "b": [2, null]})),
            of(&json!({"b": [2, null], "a": 1}))
        );
        let different = [
            json!(null),
            json!("null"),
            json!([]),
            json!({}),
            json!([1, 2]),
            json!([[1], 2]),
            json!([[1, 2]]),
            json!({"a": 1}),
            json!(["a", 1]),
            json!("object"),
        ];
        for (index, left) in different.iter().enumerate() {
            assert!(
                different[index + 1..]
                    .iter()
                    .all(|right| of(left) != of(right))
            );
        }
        assert_ne!(
            Fingerprint::of_value("POST", "/a", &json!(1)),
            Fingerprint::of_value("POST", "/b", &json!(1))
        );
    }
}
