//! What is known of a request beside its outcome, where somebody wants to know: its span, and how
//! long things took.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::Span;

use crate::{
    core::{policy::Policy, record::ShortHash},
    event::Outcome,
    target::Target,
};

/// Which operation a request was for, as those who watch are told it.
#[derive(Clone, Copy)]
pub(crate) enum Operation<'a> {
    Called {
        /// The attribute's name for it.
        name: Option<&'static str>,
        /// `None` where nobody watches.
        target: Option<&'a Target>,
    },
    /// What an operator named, or nothing.
    ActedOn(&'a str),
}

impl<'a> Operation<'a> {
    pub(crate) fn new(policy: &Policy, target: Option<&'a Target>) -> Self {
        Self::Called {
            name: policy.operation,
            target,
        }
    }

    /// As the record is named by it, in parts.
    pub(crate) fn parts(&self) -> [&'a str; 3] {
        match *self {
            Self::Called { name, target } => either(name, target.map(Target::parts)),
            Self::ActedOn(operation) => [operation, "", ""],
        }
    }

    /// As logs and metrics have it, in parts: there are no more of them than routes, whatever
    /// clients send, and nothing that a path may tell.
    pub(crate) fn label(&self) -> [&'a str; 3] {
        match *self {
            Self::Called { name, target } => either(name, target.map(Target::label)),
            // It may be a path.
            Self::ActedOn(_) => [""; 3],
        }
    }
}

fn either<'a>(name: Option<&'a str>, parts: Option<[&'a str; 3]>) -> [&'a str; 3] {
    name.map(|name| [name, "", ""])
        .or(parts)
        .unwrap_or_default()
}

/// What is known of a request while it goes on.
pub(crate) struct Observation {
    /// Of all that happens to the request, also after its client went away.
    span: Span,
    /// `None` where nobody wants to be told: to look at the clock is not for nothing.
    measures: Option<Mutex<Measures>>,
}

/// What was measured of a request.
#[derive(Clone, Copy, Default)]
pub(crate) struct Measures {
    started: Option<Instant>,
    pub(crate) handler_time: Option<Duration>,
    pub(crate) wait_time: Option<Duration>,
    pub(crate) response_bytes: Option<u64>,
}

impl Observation {
    pub(crate) fn new(operation: Operation<'_>, is_measured: bool) -> Self {
        Self {
            span: tracing::debug_span!(
                "idempotent",
                operation = %Joined(operation.label()),
                record = tracing::field::Empty,
                outcome = tracing::field::Empty,
            ),
            measures: is_measured.then(Mutex::default),
        }
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Takes note of what the request's record is, for the logs of its handler too.
    pub(crate) fn record(&self, record: ShortHash) {
        self.span.record("record", tracing::field::display(record));
    }

    pub(crate) fn outcome(&self, outcome: Outcome) {
        self.span.record("outcome", outcome.name());
    }

    pub(crate) fn handler_starts(&self) {
        self.measure(|measures| measures.started = Some(Instant::now()));
    }

    pub(crate) fn handler_ended(&self) {
        self.measure(|measures| {
            if let Some(started) = measures.started.take() {
                measures.handler_time = Some(started.elapsed());
            }
        });
    }

    pub(crate) fn measure(&self, note: impl FnOnce(&mut Measures)) {
        if let Some(measures) = &self.measures {
            note(&mut measures.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// What was measured since it was asked for last.
    pub(crate) fn take(&self) -> Measures {
        let mut taken = Measures::default();
        self.measure(|measures| {
            let started = measures.started;
            taken = std::mem::replace(
                measures,
                Measures {
                    started,
                    ..Measures::default()
                },
            );
        });
        taken
    }
}

/// Parts that are read as one text.
pub(crate) struct Joined<'a>(pub(crate) [&'a str; 3]);

impl std::fmt::Display for Joined<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|part| formatter.write_str(part))
    }
}
