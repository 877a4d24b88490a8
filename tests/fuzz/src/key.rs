//! The value of an `Idempotency-Key` header.

use idempotent_runtime::{Key, KeyError, MAX_KEY_CHARS};

/// A key or a reason, and the same key in each of its spellings.
pub(crate) fn key(data: &[u8]) {
    let read = Key::from_header(data);
    assert_eq!(read.is_ok(), Key::from_header(data).is_ok());
    match &read {
        Ok(key) => {
            let text = key.as_str().expect("no header is a derived key");
            assert!((1..=MAX_KEY_CHARS).contains(&text.len()));
            assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            let quoted = quoted(text);
            let again = [&quoted[..], "; a=1;b", "   "].concat();
            assert_eq!(Key::from_header(quoted.as_bytes()).as_ref(), Ok(key));
            assert_eq!(
                Key::from_header(again.trim_end().as_bytes()).as_ref(),
                Ok(key)
            );
            assert_eq!(Key::from_value(text).as_ref(), Ok(key));
            let is_bare = !text.starts_with('"') && !text.contains(' ');
            let bare = Key::from_header(text.as_bytes());
            assert_eq!(bare.as_ref() == Ok(key), is_bare);
            // Nothing is trimmed, cut off or changed on the way.
            if data.first() != Some(&b'"') {
                assert_eq!(text.as_bytes(), data);
            }
            assert_eq!(format!("{key:?}"), "Key(…)");
        }
        Err(error) => check_reason(error, data),
    }
    // What a client wrote of a length and without what no key may hold is a key.
    let is_visible = data.iter().all(u8::is_ascii_graphic);
    if is_visible && (1..=MAX_KEY_CHARS).contains(&data.len()) && data[0] != b'"' {
        assert!(read.is_ok());
    }
}

fn check_reason(error: &KeyError, data: &[u8]) {
    let holds = |is: fn(&u8) -> bool| data.iter().any(is);
    match error {
        KeyError::Empty => assert!(data.is_empty() || data.starts_with(b"\"\"")),
        KeyError::TooLong => assert!(data.len() > MAX_KEY_CHARS),
        KeyError::Control => assert!(holds(u8::is_ascii_control)),
        KeyError::NotAscii => assert!(holds(|byte| !byte.is_ascii())),
        KeyError::BareSpace => assert!(holds(|byte| *byte == b' ') && data[0] != b'"'),
        KeyError::Quoted(_) => assert_eq!(data[0], b'"'),
        other => panic!("no value alone is {other:?}"),
    }
    // A long one would be a secret in a log.
    let told = error.to_string();
    assert!(!told.is_empty() && told.len() < 200 && told.is_ascii());
}

/// The key as a structured-field string.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', r"\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}
