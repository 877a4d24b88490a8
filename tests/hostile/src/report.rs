//! What is printed.

use std::{fmt, time::Duration};

use crate::{
    floods::{Flood, Scale, Told},
    options::Framework,
    polite::Experience,
    server::Ledger,
};

/// What came of one flood.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) framework: Framework,
    pub(crate) flood: Flood,
    pub(crate) scale: Scale,
    pub(crate) told: Told,
    pub(crate) took: Duration,
    /// Resident memory of the server, in bytes.
    pub(crate) before: u64,
    pub(crate) peak: u64,
    pub(crate) after: u64,
    /// By how much it may have grown.
    pub(crate) allowed: u64,
    pub(crate) ledger: Ledger,
    pub(crate) experience: Experience,
    /// What should not have been.
    pub(crate) wrong: Vec<String>,
}

/// The line above reports.
pub(crate) struct Header;

impl fmt::Display for Header {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:<6} {:<15} {:>6} {:>5} | {:>6} {:>6} {:>6} {:>7} {:>6} | {:>6} {:>7} {:>6} {:>6} \
             {:>6} | {:>5}",
            "server",
            "flood",
            "conns",
            "s",
            "before",
            "peak",
            "after",
            "allowed",
            "store",
            "polite",
            "refused",
            "p50 ms",
            "p99",
            "max",
            "twice",
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |share| self.experience.quantile(share).as_secs_f64() * 1e3;
        writeln!(
            formatter,
            "{:<6} {:<15} {:>6} {:>5.1} | {:>6} {:>6} {:>6} {:>7} {:>6} | {:>6} {:>7} {:>6.1} \
             {:>6.1} {:>6.0} | {:>5}",
            self.framework.name(),
            self.flood.name(),
            self.scale.connections,
            self.took.as_secs_f64(),
            mebibytes(self.before),
            mebibytes(self.peak),
            mebibytes(self.after),
            format!("+{}", mebibytes(self.allowed)),
            mebibytes(self.ledger.bytes),
            self.experience.requests(),
            self.experience.refused,
            milliseconds(0.5),
            milliseconds(0.99),
            milliseconds(1.0),
            self.ledger.twice,
        )?;
        write!(formatter, "       {}", self.told)?;
        for wrong in &self.wrong {
            write!(formatter, "\n       BROKEN: {wrong}")?;
        }
        Ok(())
    }
}

fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}
