//! What a client wants done once, and what it was told of it.

use std::{fmt, time::Duration};

use serde_json::Value;

/// One thing that a client wants done: a payment whose amount is the number of the operation, so
/// that the ledger tells whose it is.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) number: u64,
    pub(crate) user: String,
    pub(crate) attempts: Vec<Attempt>,
    /// Whether the last time that a certain answer was asked for, one came.
    pub(crate) is_settled: bool,
}

/// One request, and what came back.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// When it was sent, since the start.
    pub(crate) sent: Duration,
    pub(crate) took: Duration,
    /// Which server it was sent to.
    pub(crate) server: usize,
    pub(crate) asked: Asked,
    pub(crate) told: Told,
}

/// What a handler is asked to do wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) delay: Duration,
    pub(crate) fault: Option<&'static str>,
    /// An answer that is too large to be kept.
    pub(crate) oversize: bool,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// This payment was made.
    Paid { payment: String, is_replay: bool },
    /// This payment was made, and there is no more to read of the answer.
    NotKept { payment: String },
    /// It is running.
    InFlight { retry_after: Duration },
    /// It was lost, and nobody knows.
    Unknown,
    /// Nothing was done, or nobody could be asked.
    Unavailable,
    /// It failed. A replay says so for good.
    Failed { status: u16, is_replay: bool },
    /// What no client should be told here.
    Refused { status: u16, code: String },
    /// Nothing.
    Nothing { reason: &'static str },
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It was done.
    Paid,
    /// Its failure was recorded.
    Failed,
    /// Nobody knows, until a server that was only away is back.
    Unknown,
    /// It was refused.
    Refused,
}

impl Operation {
    pub(crate) fn new(number: u64, user: &str) -> Self {
        Self {
            number,
            user: user.to_owned(),
            attempts: Vec::new(),
            is_settled: true,
        }
    }

    /// How it ended, as far as its client knows.
    pub(crate) fn end(&self) -> Option<End> {
        self.ends().next()
    }

    /// Whether its client was told that it was done.
    pub(crate) fn is_paid(&self) -> bool {
        self.ends().any(|end| end == End::Paid)
    }

    /// Every certain answer.
    pub(crate) fn ends(&self) -> impl Iterator<Item = End> {
        self.attempts
            .iter()
            .filter_map(|attempt| attempt.told.end())
    }

    /// Whether it was unknown when it was asked for after somebody had heard that it is recorded.
    pub(crate) fn is_unknown_after_a_record(&self) -> bool {
        let attempts = || self.attempts.iter();
        let recorded = attempts().filter(|attempt| attempt.told.is_recorded());
        let heard = recorded.map(|attempt| attempt.sent + attempt.took).min();
        heard.is_some_and(|heard| {
            attempts().any(|attempt| attempt.told == Told::Unknown && attempt.sent >= heard)
        })
    }

    /// The payments that answers named.
    pub(crate) fn payments_told(&self) -> impl Iterator<Item = &str> {
        let payments = self.attempts.iter().map(|attempt| attempt.told.payment());
        payments.flatten()
    }
}

impl Told {
    /// As the answer's status, mark and body say.
    pub(crate) fn from_answer(
        status: u16,
        is_replay: bool,
        retry_after: Option<u64>,
        body: &[u8],
    ) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        match (status, &*text("code")) {
            (200..=299, _) => Self::Paid {
                payment: text("id"),
                is_replay,
            },
            (409, "in-flight") => Self::InFlight {
                retry_after: Duration::from_secs(retry_after.unwrap_or(1)),
            },
            (409, "outcome-unknown") => Self::Unknown,
            (503, _) => Self::Unavailable,
            (500..=599, _) => Self::Failed { status, is_replay },
            (_, code) => Self::Refused {
                status,
                code: code.to_owned(),
            },
        }
    }

    /// How the operation ended, where this is certain: README.md, "What clients are told".
    pub(crate) fn end(&self) -> Option<End> {
        match self {
            Self::Paid { .. } | Self::NotKept { .. } => Some(End::Paid),
            Self::Unknown => Some(End::Unknown),
            Self::Failed { is_replay, .. } => is_replay.then_some(End::Failed),
            Self::Refused { .. } => Some(End::Refused),
            Self::InFlight { .. } | Self::Unavailable | Self::Nothing { .. } => None,
        }
    }

    pub(crate) fn is_replay(&self) -> bool {
        match self {
            Self::Paid { is_replay, .. } | Self::Failed { is_replay, .. } => *is_replay,
            _ => false,
        }
    }

    /// Whether it says that an outcome is recorded.
    pub(crate) fn is_recorded(&self) -> bool {
        self.is_replay() || matches!(self, Self::NotKept { .. })
    }

    fn payment(&self) -> Option<&str> {
        match self {
            Self::Paid { payment, .. } | Self::NotKept { payment } => Some(payment),
            _ => None,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "operation {} of {}:", self.number, self.user)?;
        for attempt in &self.attempts {
            writeln!(formatter, "  {attempt}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sent,
            took,
            server,
            asked,
            told,
        } = self;
        let (sent, took) = (sent.as_secs_f64(), took.as_secs_f64());
        write!(formatter, "{sent:8.3} s + {took:.3} s  server {server}  ")?;
        if !asked.delay.is_zero() {
            write!(formatter, "delay {} ms, ", asked.delay.as_millis())?;
        }
        if let Some(fault) = asked.fault {
            write!(formatter, "{fault}, ")?;
        }
        if asked.oversize {
            write!(formatter, "oversize, ")?;
        }
        write!(formatter, "told {told:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_answers_are_certain() {
        let told = |status, is_replay, body: &str| {
            Told::from_answer(status, is_replay, None, body.as_bytes()).end()
        };
        assert_eq!(told(201, false, r#"{"id":"1"}"#), Some(End::Paid));
        assert_eq!(told(201, true, r#"{"id":"1"}"#), Some(End::Paid));
        assert_eq!(told(409, false, r#"{"code":"in-flight"}"#), None);
        let unknown = told(409, false, r#"{"code":"outcome-unknown"}"#);
        assert_eq!(unknown, Some(End::Unknown));
        assert_eq!(told(503, false, r#"{"code":"store-full"}"#), None);
        assert_eq!(told(500, false, "{}"), None);
        assert_eq!(told(500, true, "{}"), Some(End::Failed));
        let reused = told(422, false, r#"{"code":"key-reused"}"#);
        assert_eq!(reused, Some(End::Refused));
    }
}
