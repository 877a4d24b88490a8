//! What live keys take: of time, for the next first execution, and of memory. Each system is
//! measured in a process of its own, so that no memory that another gave back is used again.

use std::{fmt, rc::Rc, str::FromStr};

use anyhow::{Context as _, Result};

use crate::{
    child::Child,
    in_process::{Call, InProcess, fresh_key},
    ratios::{median, timed},
    system::System,
};

const ROUNDS: usize = 11;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Growth {
    /// First execution ÷ bare, for each of the system's levels.
    pub(crate) firsts: Vec<f64>,
    /// Resident bytes for each live key, at the highest level.
    pub(crate) bytes_per_key: f64,
}

pub(crate) fn measure(system: System) -> Result<Growth> {
    let mut child = Child::start("growth", system)?;
    child.line()?.parse()
}

/// In the process of its own. All keys are one caller's.
pub(crate) fn measure_here(system: System) -> Growth {
    let (bare, app) = (InProcess::new(system.bare()), InProcess::new(system));
    let nobody = Rc::from("");
    let session = app.login();
    // A round adds few keys beside those that are there.
    let requests = if system.has_sessions() { 10 } else { 200 };
    let (mut live, mut firsts) = (0_u64, Vec::new());
    for number in 0..4 {
        // Warms up, and leaves a record that can be copied.
        app.pay(&calls(&session, number));
        bare.pay(&calls(&nobody, number));
    }
    let before = resident_bytes();
    for &level in system.levels() {
        app.fill(level);
        if system != System::ActixIdempotent {
            while live < level {
                let more = (level - live).min(1_000);
                app.pay(&calls(&session, more));
                live += more;
            }
        }
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..=ROUNDS {
            let bare = timed(&bare, &calls(&nobody, requests));
            let first = timed(&app, &calls(&session, requests));
            if round > 0 {
                times[0].push(bare);
                times[1].push(first);
            }
        }
        let [bare, first] = times.each_mut().map(|times| median(times));
        firsts.push(first / bare);
        live = live.max(level) + (ROUNDS as u64 + 1) * requests;
    }
    #[allow(clippy::cast_precision_loss)] // Far below what a float counts.
    let bytes_per_key = resident_bytes().saturating_sub(before) as f64 / live as f64;
    Growth {
        firsts,
        bytes_per_key,
    }
}

fn calls(session: &Rc<str>, requests: u64) -> Vec<Call> {
    let call = |_| Call {
        session: session.clone(),
        key: Some(fresh_key()),
    };
    (0..requests).map(call).collect()
}

/// What the process holds in memory, as Linux tells it.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_u64) * 4096
}

/// As one process tells another.
impl fmt::Display for Growth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.bytes_per_key)?;
        self.firsts
            .iter()
            .try_for_each(|first| write!(formatter, " {first}"))
    }
}

impl FromStr for Growth {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let numbers: Result<Vec<f64>, _> = line.split_whitespace().map(str::parse).collect();
        let numbers = numbers.with_context(|| format!("no figures of growth: {line:?}"))?;
        let (&bytes_per_key, firsts) = numbers.split_first().context("no figures of growth")?;
        Ok(Self {
            firsts: firsts.to_vec(),
            bytes_per_key,
        })
    }
}
