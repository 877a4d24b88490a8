//! A torture that could not find anything would be worth nothing.

use std::process::{Command, Output};

/// The number that follows a word in what was printed.
fn number_after(printed: &str, word: &str) -> u64 {
    let (_, rest) = printed.split_once(word).expect("it is printed");
    let digits = rest.trim_start().split(|char: char| !char.is_ascii_digit());
    digits
        .into_iter()
        .next()
        .and_then(|digits| digits.parse().ok())
        .expect("a number follows")
}

fn torture(arguments: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_idempotent-torture"))
        .args(["--mode", "sqlite", "--seconds", "4", "--clients", "24"])
        .args(["--servers", "3"])
        .args(arguments)
        .output()
        .expect("it starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, printed)
}

#[test]
fn with_a_key_for_each_operation_there_is_one_payment() {
    let (output, printed) = torture(&[]);
    assert!(output.status.success(), "{output:?}");
    let wanted = number_after(&printed, "payments wanted");
    assert!(wanted > 0, "{printed}");
    assert_eq!(wanted, number_after(&printed, "made"), "{printed}");
    assert!(number_after(&printed, "kills") > 0, "{printed}");
    assert!(
        printed.contains("twice 0, lost 0, differently 0: kept: exactly once"),
        "{printed}"
    );
}

#[test]
fn with_a_key_for_each_attempt_payments_are_made_twice() {
    let (output, printed) = torture(&["--break", "new-key"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(number_after(&printed, "twice") > 0, "{printed}");
    assert!(printed.contains("BROKEN"), "{printed}");
    // And what became of one of them.
    assert!(printed.contains("payments in the ledger: ["), "{printed}");
}
