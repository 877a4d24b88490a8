//! The idempotency key: what the client sends, and what counts as one.

use std::{borrow::Cow, fmt};

use sfv::{BareItemFromInput, Parser, visitor::Ignored};

use super::fingerprint::Fingerprint;

/// The longest key, in characters.
pub const MAX_KEY_CHARS: usize = 255;

/// The name of one logical operation of one caller.
///
/// Its `Debug` output never shows the key: a key can be all that is needed to read a stored
/// response, so it stays out of logs.
///
/// ```
/// use idempotent_runtime::Key;
///
/// // A structured-field string and the same bare value are the same key.
/// assert_eq!(Key::from_header(b"\"pay-1\"")?, Key::from_header(b"pay-1")?);
/// # Ok::<_, idempotent_runtime::KeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Name);

#[derive(Clone, PartialEq, Eq)]
enum Name {
    Text(Box<str>),
    Derived(Fingerprint),
}

impl Key {
    /// Reads the value of an `Idempotency-Key` header: a structured-field string
    /// (RFC 9651 §3.3.3; parameters after it are ignored) or a bare value of 1 to 255 visible
    /// ASCII characters.
    ///
    /// # Errors
    ///
    /// What is wrong with the value; keys are never trimmed, truncated or lower-cased to make
    /// them fit.
    pub fn from_header(value: &[u8]) -> Result<Self, KeyError> {
        if let [b'#'..=b'~' | b'!', rest @ ..] = value
            // To the end in any case: without a way out the loop looks at many bytes at once.
            && rest.iter().fold(true, |all, byte| all & byte.is_ascii_graphic())
            && let Ok(text) = std::str::from_utf8(value)
        {
            return Self::from_text(Cow::Borrowed(text));
        }
        // Structured fields cannot hold these either; naming them is more help than the
        // parser's "invalid character".
        if value.iter().any(u8::is_ascii_control) {
            return Err(KeyError::Control);
        }
        let Some(value) = std::str::from_utf8(value)
            .ok()
            .filter(|value| value.is_ascii())
        else {
            return Err(KeyError::NotAscii);
        };
        if value.starts_with('"') {
            Self::from_text(quoted(value)?)
        } else if value.is_empty() {
            Err(KeyError::Empty)
        } else {
            // Of ASCII without control characters, this is what is left.
            Err(KeyError::BareSpace)
        }
    }

    /// Takes the value of `key = <expression>`, which was made by the handler's own code.
    ///
    /// Unlike a header, it may hold any characters.
    ///
    /// # Errors
    ///
    /// [`KeyError::Empty`] or [`KeyError::TooLong`].
    pub fn from_value(value: &str) -> Result<Self, KeyError> {
        Self::from_text(Cow::Borrowed(value))
    }

    /// The key of a request that came without one to a handler with `key = "derived"`.
    #[must_use]
    pub fn derived(fingerprint: Fingerprint) -> Self {
        Self(Name::Derived(fingerprint))
    }

    /// The key as it was given; `None` for a derived one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            Name::Text(text) => Some(text),
            Name::Derived(_) => None,
        }
    }

    /// A tag and the key's bytes, so that no key a client can send equals a derived one.
    pub(crate) fn parts(&self) -> [&[u8]; 2] {
        match &self.0 {
            Name::Text(text) => [b"text", text.as_bytes()],
            Name::Derived(fingerprint) => [b"derived", fingerprint.as_bytes()],
        }
    }

    fn from_text(text: Cow<'_, str>) -> Result<Self, KeyError> {
        // Counting characters walks the text; a text short in bytes is short in characters.
        if text.len() > MAX_KEY_CHARS && text.chars().count() > MAX_KEY_CHARS {
            return Err(KeyError::TooLong);
        }
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        Ok(Self(Name::Text(text.into())))
    }
}

/// Reads what a client sends as `Idempotency-Key`: [`Key::from_header`].
impl TryFrom<&str> for Key {
    type Error = KeyError;

    fn try_from(header: &str) -> Result<Self, KeyError> {
        Self::from_header(header.as_bytes())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(…)")
    }
}

fn quoted(value: &str) -> Result<Cow<'_, str>, KeyError> {
    let mut text = None;
    Parser::new(value)
        .parse_item_with_visitor(|item: BareItemFromInput<'_>| {
            if let BareItemFromInput::String(string) = item {
                text = Some(string.as_str().to_owned());
            }
            Ok::<_, std::convert::Infallible>(Ignored)
        })
        .map_err(|error| KeyError::Quoted(error.to_string()))?;
    // The value starts with a quote, so an item that parsed is a string.
    text.map(Cow::Owned)
        .ok_or_else(|| KeyError::Quoted("not a string".to_owned()))
}

/// Why a value cannot be an idempotency key. Never repeats the value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// The key has no characters.
    Empty,
    /// The key is longer than [`MAX_KEY_CHARS`].
    TooLong,
    /// The key holds a control character.
    Control,
    /// The key holds a character that is not ASCII.
    NotAscii,
    /// A key without quotes holds a space.
    BareSpace,
    /// The key starts with a quote and is not a structured-field string.
    Quoted(String),
    /// The request has more than one `Idempotency-Key` header.
    Repeated,
}

impl fmt::Display for KeyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => formatter.write_str("the key is empty"),
            Self::TooLong => write!(
                formatter,
                "the key is longer than {MAX_KEY_CHARS} characters"
            ),
            Self::Control => formatter.write_str("the key has a control character"),
            Self::NotAscii => {
                formatter.write_str("the key has a character that is not visible ASCII")
            }
            Self::BareSpace => {
                formatter.write_str("the key has a space, which only a key in double quotes may")
            }
            Self::Quoted(reason) => write!(
                formatter,
                "the key starts with a double quote but is not a quoted string: {reason}"
            ),
            Self::Repeated => formatter.write_str("the request has more than one key"),
        }
    }
}

impl std::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &[u8]) -> Result<String, KeyError> {
        Key::from_header(value).map(|key| key.as_str().expect("a text").to_owned())
    }

    #[test]
    fn quoted_and_bare_values_are_the_same_key() {
        assert_eq!(text(b"abc").unwrap(), "abc");
        assert_eq!(text(b"\"abc\"").unwrap(), "abc");
        assert_eq!(text(b"\"abc\";a=1;b").unwrap(), "abc");
        assert_eq!(text(br#""a\"b\\c""#).unwrap(), r#"a"b\c"#);
        assert_eq!(text(b"\"a b\"").unwrap(), "a b");
        assert_eq!(text(b"a/b:c;d=\"e").unwrap(), "a/b:c;d=\"e");
        assert_eq!(text(b"ABC").unwrap(), "ABC");
    }

    #[test]
    fn what_is_not_a_key_is_refused_with_its_reason() {
        for value in [&b""[..], b"\"\""] {
            assert_eq!(text(value), Err(KeyError::Empty));
        }
        assert_eq!(text(b"a b"), Err(KeyError::BareSpace));
        assert_eq!(text(b"a\tb"), Err(KeyError::Control));
        assert_eq!(text(b"\"a\x7fb\""), Err(KeyError::Control));
        assert_eq!(text("é".as_bytes()), Err(KeyError::NotAscii));
        assert_eq!(text(b"a\xffb"), Err(KeyError::NotAscii));
        for value in [
            &b"\"abc"[..],
            b"\"",
            br#""a\b""#,
            b"\"abc\"d",
            b"\"a\", \"b\"",
            br#""a\"#,
        ] {
            assert!(matches!(text(value), Err(KeyError::Quoted(_))), "{value:?}");
        }
    }

    #[test]
    fn the_limit_counts_the_key_not_its_quotes_and_escapes() {
        let longest = "k".repeat(MAX_KEY_CHARS);
        assert_eq!(text(longest.as_bytes()).unwrap(), longest);
        assert_eq!(text(format!("\"{longest}\"").as_bytes()).unwrap(), longest);
        let escaped = "\\\\".repeat(MAX_KEY_CHARS);
        assert!(text(format!("\"{escaped}\"").as_bytes()).is_ok());
        assert_eq!(
            text(format!("{longest}k").as_bytes()),
            Err(KeyError::TooLong)
        );
        assert_eq!(
            text(format!("\"{longest}k\"").as_bytes()),
            Err(KeyError::TooLong)
        );
        assert!(Key::from_value(&"é".repeat(MAX_KEY_CHARS)).is_ok());
        assert_eq!(
            Key::from_value(&"é".repeat(MAX_KEY_CHARS + 1)),
            Err(KeyError::TooLong)
        );
    }

    #[test]
    fn a_reason_and_debug_output_never_repeat_the_key() {
        let error = text(b"\"secret").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
        let key = Key::from_header(b"secret").unwrap();
        assert!(!format!("{key:?}").contains("secret"));
    }
}
