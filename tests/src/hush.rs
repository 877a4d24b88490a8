//! Every key and every caller of the tests has a mark, which must not be told: not in a line of the
//! log, not in a metric, not in a problem, not in `Debug`.

use std::io::{self, Write as _};

const MARK: &str = "hushed";

/// A key or a caller as a request sends it that names it so.
#[must_use]
pub fn marked(word: &str) -> String {
    format!("{word}.{MARK}")
}

/// The same where it is one word; keys that are about how keys are written stay as they are.
pub(crate) fn marked_bytes(word: &[u8]) -> Vec<u8> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    match std::str::from_utf8(word) {
        Ok(text) if !text.is_empty() && text.len() < 100 && word.iter().all(is_word) => {
            marked(text).into_bytes()
        }
        _ => word.to_vec(),
    }
}

fn tells(text: &[u8]) -> bool {
    text.windows(MARK.len()).any(|part| part == MARK.as_bytes())
}

/// Ends the process when a line of the log tells what it must not: it may be anybody's, in a thread
/// whose panic nobody sees.
pub(crate) fn check_log(line: &[u8]) {
    if tells(line) {
        // Not `eprintln!`, whose output the test framework keeps to itself.
        let line = String::from_utf8_lossy(line);
        let _ = writeln!(io::stderr(), "the log tells a key or a caller: {line}");
        std::process::abort();
    }
}

/// Checks that nothing is told.
///
/// # Panics
///
/// When something is.
#[track_caller]
pub fn check(what: &str, text: &str) {
    if let Some(line) = text.lines().find(|line| tells(line.as_bytes())) {
        panic!("{what} tells a key or a caller: {line}");
    }
}
