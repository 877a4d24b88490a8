//! The floods: what each sends, what it must be told, and what memory it may cost.

mod bodies;
mod heads;
mod keys;

use std::{
    collections::BTreeMap,
    fmt, io,
    str::FromStr,
    sync::{Mutex, PoisonError},
};

use crate::{
    Failure,
    http::Answer,
    process::Server,
    server::{BODY_LIMIT, Ledger},
};

/// One way to mean harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flood {
    SlowBodies,
    EndlessBodies,
    HugeBodies,
    Headers,
    LongKeys,
    ManyKeys,
    OneKey,
    OneKeyWaiting,
    ManyRunning,
}

/// How large a flood is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Connections that are open at the same time.
    pub(crate) connections: usize,
    /// Requests on all of them together, where there are more.
    pub(crate) requests: usize,
    /// What the store may take, in bytes.
    pub(crate) budget: u64,
}

/// What a flood was told, by kind.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<BTreeMap<String, usize>>);

impl Flood {
    pub(crate) const ALL: [Self; 9] = [
        Self::SlowBodies,
        Self::EndlessBodies,
        Self::HugeBodies,
        Self::Headers,
        Self::LongKeys,
        Self::ManyKeys,
        Self::OneKey,
        Self::OneKeyWaiting,
        Self::ManyRunning,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SlowBodies => "slow-bodies",
            Self::EndlessBodies => "endless-bodies",
            Self::HugeBodies => "huge-bodies",
            Self::Headers => "headers",
            Self::LongKeys => "long-keys",
            Self::ManyKeys => "many-keys",
            Self::OneKey => "one-key",
            Self::OneKeyWaiting => "one-key-waiting",
            Self::ManyRunning => "many-running",
        }
    }

    /// In full, or a short one.
    pub(crate) const fn scale(self, short: bool) -> Scale {
        let (connections, requests) = match self {
            Self::SlowBodies => (1_000, 1_000),
            Self::EndlessBodies => (100, 400),
            Self::HugeBodies => (100, 2_000),
            Self::Headers => (100, 800),
            Self::LongKeys => (100, 5_000),
            Self::ManyKeys => (100, 100_000),
            Self::OneKey | Self::ManyRunning => (10_000, 10_000),
            Self::OneKeyWaiting => (3_000, 3_000),
        };
        if short {
            Scale {
                connections: connections / 10,
                requests: requests / 20,
                budget: 4 << 20,
            }
        } else {
            Scale {
                connections,
                requests,
                budget: 64 << 20,
            }
        }
    }

    /// What one connection may cost, in bytes, beside the store's budget: a body up to its limit,
    /// and what the framework reads before it knows that it is too much.
    pub(crate) const fn per_connection(self) -> u64 {
        match self {
            Self::EndlessBodies | Self::HugeBodies => BODY_LIMIT as u64 + (64 << 10),
            // Hyper takes a head up to 400 KiB.
            Self::Headers => 512 << 10,
            _ => 24 << 10,
        }
    }

    /// Whether others may be told meanwhile that the store has no room.
    pub(crate) const fn fills(self) -> bool {
        matches!(self, Self::ManyKeys | Self::ManyRunning)
    }

    /// Floods the server until everything is told.
    pub(crate) async fn flood(self, server: &Server, scale: Scale) -> Result<Told, Failure> {
        match self {
            Self::SlowBodies => bodies::slow(server, scale).await,
            Self::EndlessBodies => bodies::endless(server, scale).await,
            Self::HugeBodies => bodies::huge(server, scale).await,
            Self::Headers => heads::headers(server, scale).await,
            Self::LongKeys => heads::long_keys(server, scale).await,
            Self::ManyKeys => keys::many(server, scale).await,
            Self::OneKey => keys::one(server, scale, "/hold").await,
            Self::OneKeyWaiting => keys::one(server, scale, "/hold/wait").await,
            Self::ManyRunning => keys::running(server, scale).await,
        }
    }

    /// What the flood must have been told, and have done: a sentence where it is not so.
    pub(crate) fn check(self, scale: Scale, told: &Told, ledger: &Ledger) -> Result<(), String> {
        let (expected, effects): (&[&str], usize) = match self {
            Self::SlowBodies => (&["no answer", "408"], 0),
            Self::EndlessBodies | Self::HugeBodies => (&["413 body-too-large", "413", "closed"], 0),
            Self::Headers => {
                let kinds = &["400 key-invalid", "400", "408", "414", "431", "closed"];
                (kinds, 0)
            }
            Self::LongKeys => {
                let kinds = &["201", "201 replay", "400 key-invalid", "409 in-flight"];
                (kinds, told.of("201"))
            }
            Self::OneKey | Self::OneKeyWaiting => (&["201", "201 replay", "409 in-flight"], 1),
            Self::ManyKeys | Self::ManyRunning => (&["201", "503 store-full"], told.of("201")),
        };
        if let Some(other) = told.other_than(expected) {
            return Err(format!("{other} is no answer to it"));
        }
        let firsts = told.of("201");
        if ledger.floods != effects as u64 || firsts != effects {
            let Ledger { floods, .. } = ledger;
            return Err(format!(
                "{floods} effects, {firsts} told of, {effects} expected"
            ));
        }
        let is_refused = told.of("503 store-full") > 0;
        if self.fills() && !is_refused {
            return Err(format!("{} bytes hold all of it", scale.budget));
        }
        Ok(())
    }
}

impl FromStr for Flood {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| format!("there is no flood {name}"))
    }
}

impl Told {
    pub(crate) fn note(&self, answer: io::Result<&Answer>) {
        let kind = match answer {
            Ok(answer) => match &answer.code {
                Some(code) => format!("{} {code}", answer.status),
                None if answer.is_replay => format!("{} replay", answer.status),
                None => answer.status.to_string(),
            },
            Err(error) if error.kind() == io::ErrorKind::TimedOut => "timed out".to_owned(),
            Err(_) => "closed".to_owned(),
        };
        self.add(&kind);
    }

    pub(crate) fn add(&self, kind: &str) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *told.entry(kind.to_owned()).or_default() += 1;
    }

    /// How often it was this.
    pub(crate) fn of(&self, kind: &str) -> usize {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.get(kind).copied().unwrap_or_default()
    }

    fn other_than(&self, expected: &[&str]) -> Option<String> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kinds = told.keys();
        kinds.find(|kind| !expected.contains(&&***kind)).cloned()
    }
}

impl fmt::Display for Told {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kinds: Vec<_> = told
            .iter()
            .map(|(kind, count)| format!("{count} × {kind}"))
            .collect();
        formatter.write_str(&kinds.join(", "))
    }
}
