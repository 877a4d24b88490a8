//! A short run of each flood; and servers that are wrong, which must be found out.

use std::process::{Command, Output};

fn hostile(arguments: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_idempotent-hostile"))
        .arg("--short")
        .args(arguments)
        .output()
        .expect("it starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, printed)
}

/// In one test, so that the floods do not wait for each other.
#[test]
fn floods_cost_others_neither_memory_nor_answers() {
    let (output, printed) = hostile(&[]);
    println!("{printed}");
    assert!(output.status.success(), "{output:?}");
    assert!(printed.ends_with("kept\n"));
    for flood in ["slow-bodies", "many-keys", "one-key-waiting"] {
        let rows = printed.lines().filter(|line| line.contains(flood));
        assert_eq!(rows.count(), 2, "one for each framework");
    }

    let unprotected = ["--flood", "long-keys", "--break", "unprotected"];
    let (output, printed) = hostile(&unprotected);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(printed.contains(" operations were done twice"), "{printed}");

    let budget = [
        "--flood",
        "many-keys",
        "--framework",
        "axum",
        "--break",
        "budget",
    ];
    let (output, printed) = hostile(&budget);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        printed.contains("BROKEN: the store has taken more than its budget"),
        "{printed}"
    );
}
