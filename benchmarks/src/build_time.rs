//! What a clean release build takes, as `benchmarks/build-time/run` has left it: that takes minutes
//! and needs no repetition as long as nobody's dependencies change.

use anyhow::{Context as _, Result};

use crate::system::System;

/// Of a system and its application of one route.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BuildTime {
    pub(crate) system: System,
    /// Processor time, in seconds.
    pub(crate) seconds: f64,
    pub(crate) crates: u64,
}

pub(crate) fn read() -> Result<Vec<BuildTime>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/build-time/results.txt");
    let lines = std::fs::read_to_string(path)
        .context("build-time/results.txt: `benchmarks/build-time/run` writes it")?;
    lines.lines().map(parse).collect()
}

fn parse(line: &str) -> Result<BuildTime> {
    let mut words = line.split_whitespace();
    let mut next = || words.next().context("SYSTEM SECONDS CRATES on each line");
    Ok(BuildTime {
        system: System::named(next()?).context("a system's name")?,
        seconds: next()?.parse()?,
        crates: next()?.parse()?,
    })
}
