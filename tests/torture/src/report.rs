//! What is printed.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    client::World,
    mode::{Mode, Promise},
    tally::Count,
    verdict::{Offender, Verdict},
};

/// What came of one mode.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) mode: Mode,
    pub(crate) seed: u64,
    pub(crate) servers: usize,
    pub(crate) clients: usize,
    /// For how long there were faults.
    pub(crate) faults_for: Duration,
    pub(crate) world: Arc<World>,
    pub(crate) verdict: Verdict,
}

/// All modes, a line for each.
pub(crate) struct Table<'a>(pub(crate) &'a [Report]);

impl Report {
    fn kept(&self) -> &'static str {
        match (self.verdict.is_kept(), self.mode.promise()) {
            (false, _) => "BROKEN",
            (true, Promise::ExactlyOnce | Promise::OneRun) => "kept: exactly once",
            (true, Promise::AtMostOnce) => "kept: at most once",
            (true, Promise::AtLeastOnce) => "kept: at least once",
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count| self.world.tally.of(count);
        let verdict = &self.verdict;
        let seconds = self.faults_for.as_secs_f64();
        #[allow(clippy::cast_precision_loss)] // A rate.
        let rate = of(Count::Kills) as f64 / seconds;
        writeln!(
            formatter,
            "{}: {} servers, {} clients, {seconds:.0} s of faults, seed {}",
            self.mode.name(),
            self.servers,
            self.clients,
            self.seed,
        )?;
        writeln!(
            formatter,
            "  operations {}, attempts {}: replays {}, 409 in-flight {}, 503 {}, no answer {}",
            verdict.operations,
            of(Count::Attempts),
            of(Count::Replays),
            of(Count::InFlight),
            of(Count::Unavailable),
            of(Count::Unheard),
        )?;
        writeln!(
            formatter,
            "  kills {} ({rate:.1}/s), crashes {}, stalls {}; wires: cuts {}, delays {}, answers \
             swallowed {}; store: restarts {}, fills {}",
            of(Count::Kills),
            of(Count::Crashes),
            of(Count::Stalls),
            of(Count::Cuts),
            of(Count::Delays),
            of(Count::Swallowed),
            of(Count::Restarts),
            of(Count::Fills),
        )?;
        writeln!(
            formatter,
            "  payments wanted {}, made {}; recorded as failed {} (paid {}), outcome unknown {} \
             (paid {})",
            verdict.wanted,
            verdict.made,
            verdict.failed.operations,
            verdict.failed.paid,
            verdict.unknown.operations,
            verdict.unknown.paid,
        )?;
        writeln!(
            formatter,
            "  twice {}, lost {}, differently {}: {}",
            verdict.twice,
            verdict.lost,
            verdict.differently,
            self.kept(),
        )?;
        for (count, what) in [
            (verdict.refused as u64, "operations refused"),
            (verdict.foreign as u64, "payments of no operation"),
            (verdict.ended, "servers ended by themselves"),
        ] {
            if count > 0 {
                writeln!(formatter, "  {count} {what}")?;
            }
        }
        for Offender {
            operation,
            payments,
        } in &verdict.offenders
        {
            write!(formatter, "{operation}")?;
            writeln!(formatter, "  payments in the ledger: {payments:?}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "\n{:<16} {:>10} {:>6} {:>7} {:>7} {:>6} {:>5} {:>12}",
            "mode", "operations", "kills", "wanted", "made", "twice", "lost", "differently"
        )?;
        for report in self.0 {
            let verdict = &report.verdict;
            writeln!(
                formatter,
                "{:<16} {:>10} {:>6} {:>7} {:>7} {:>6} {:>5} {:>12}  {}",
                report.mode.name(),
                verdict.operations,
                report.world.tally.of(Count::Kills),
                verdict.wanted,
                verdict.made,
                verdict.twice,
                verdict.lost,
                verdict.differently,
                report.kept(),
            )?;
        }
        Ok(())
    }
}
