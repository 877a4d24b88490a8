//! Counts the instructions of each hot path under valgrind, and fails if one takes more than its
//! ceiling in `ceilings.txt` allows. Times depend on what else a machine does; these do not.
//!
//! `cargo run --release -p idempotent-instructions` checks, `-- --update` writes the ceilings anew.

mod ceilings;
mod core_paths;
mod count;
mod web_paths;

use std::{env, process::ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::ceilings::Ceilings;

const ADVICE: &str = "\
What grew, grew by itself: the bare path does not take as much more. To see where, count with
`valgrind --tool=callgrind target/release/idempotent-instructions run 'axum: first' 2000` before and
after, and read both by callgrind_annotate. If it is worth it, run this with `--update`.";

/// What is counted: a name, and what runs it so many times.
struct Path {
    name: &'static str,
    role: Role,
    run: fn(u64),
}

/// What a count says.
enum Role {
    /// What the framework takes, which is not ours to change.
    Bare,
    /// What is protected, beside what does the same without protection.
    Beside(&'static str),
    /// What other paths are made of.
    Part,
}

fn paths() -> impl Iterator<Item = &'static Path> {
    web_paths::PATHS.iter().chain(core_paths::PATHS)
}

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        [] => {
            let (table, kept) = Ceilings::read()?.compare(&count_all()?);
            print!("{table}");
            if !kept {
                eprintln!("{ADVICE}");
            }
            Ok(ExitCode::from(u8::from(!kept)))
        }
        ["--update"] => {
            let counts = count_all()?;
            Ceilings::write(&counts)?;
            print!("{}", Ceilings::read()?.compare(&counts).0);
            Ok(ExitCode::SUCCESS)
        }
        // What valgrind counts.
        ["run", name, times] => {
            let path = paths().find(|path| path.name == name);
            let path = path.with_context(|| format!("no path is named {name:?}"))?;
            (path.run)(times.parse().context("how many times")?);
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("usage: idempotent-instructions [--update | run PATH TIMES]"),
    }
}

fn count_all() -> Result<Vec<(&'static Path, u64)>> {
    paths()
        .map(|path| Ok((path, count::instructions_of(path)?)))
        .collect()
}
