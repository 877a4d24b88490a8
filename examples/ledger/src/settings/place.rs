//! `STORE` and `LEDGER`: where outcomes and entries are kept.

use std::{fmt, path::PathBuf};

use super::StartError;

const STORES: &str = "give `memory`, `sqlite:<path>`, `postgres://<user>@<host>/<database>` or \
                      `redis://<host>:<port>`";
const SQLITE: &str = "give the path of a file, such as `sqlite:payments.db`";
const LEDGER: &str = "name a SQLite file that may be made, such as `LEDGER=payments.db`";

/// Where outcomes are recorded, and where the ledger's entries are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Both in this process's memory.
    Memory,
    /// Both in one SQLite file.
    Sqlite(PathBuf),
    /// Outcomes in a PostgreSQL database, and the entries as well.
    Postgres {
        /// The address of the database.
        address: Address,
        /// The file of the entries, where they are to be elsewhere.
        ledger: Option<PathBuf>,
    },
    /// Outcomes in Redis, entries in a SQLite file.
    Redis {
        /// The address of Redis.
        address: Address,
        /// The file of the entries.
        ledger: PathBuf,
    },
}

/// An address that may hold a password, and so is only shown in part.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(String);

impl Place {
    pub(super) fn new(store: Option<String>, ledger: Option<String>) -> Result<Self, StartError> {
        let store = store.unwrap_or_else(|| "memory".to_owned());
        let place = match store.split_once(':') {
            Some(("redis" | "rediss", rest)) if rest.starts_with("//") => {
                let ledger = ledger.ok_or_else(|| StartError::Setting {
                    variable: "LEDGER",
                    problem: "is not set, and payments cannot be kept in Redis".to_owned(),
                    wanted: LEDGER,
                })?;
                return Ok(Self::Redis {
                    address: Address(store),
                    ledger: entries(&ledger)?,
                });
            }
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                return Ok(Self::Postgres {
                    address: Address(store),
                    ledger: ledger.map(|ledger| entries(&ledger)).transpose()?,
                });
            }
            Some(("sqlite", path)) => Self::Sqlite(file("STORE", path, SQLITE)?),
            None if store == "memory" => Self::Memory,
            _ => {
                return Err(StartError::Setting {
                    variable: "STORE",
                    problem: format!("is {}, which is no store that is supported", shown(&store)),
                    wanted: STORES,
                });
            }
        };
        if ledger.is_some() {
            return Err(StartError::Setting {
                variable: "LEDGER",
                problem: format!(
                    "is set, but with STORE={} the ledger is where the store is",
                    place.name()
                ),
                wanted: "leave it out; it is for `STORE=redis://…` and `STORE=postgres://…`",
            });
        }
        Ok(place)
    }

    /// Which kind of store it is, in a word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite(_) => "sqlite",
            Self::Postgres { .. } => "postgres",
            Self::Redis { .. } => "redis",
        }
    }
}

impl Address {
    /// The address, with its password.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&shown(&self.0))
    }
}

fn entries(ledger: &str) -> Result<PathBuf, StartError> {
    file(
        "LEDGER",
        ledger.strip_prefix("sqlite:").unwrap_or(ledger),
        LEDGER,
    )
}

fn file(variable: &'static str, path: &str, wanted: &'static str) -> Result<PathBuf, StartError> {
    let path = path.strip_prefix("//").unwrap_or(path);
    let problem = if path.is_empty() {
        "names no file"
    } else if path == ":memory:" {
        // Each connection would have a database of its own.
        "names no file, but SQLite's memory"
    } else if path.contains('?') {
        "has options after a `?`, which are not supported"
    } else {
        return Ok(path.into());
    };
    Err(StartError::Setting {
        variable,
        problem: problem.to_owned(),
        wanted,
    })
}

/// As much of a value as cannot be a password: a single word, or the scheme of an address.
fn shown(value: &str) -> String {
    let is_word = |text: &str| text.chars().all(|char| char.is_ascii_alphanumeric());
    match value.split_once("://") {
        Some((scheme, _)) if is_word(scheme) => format!("`{scheme}://…`"),
        None if is_word(value) => format!("`{value}`"),
        _ => "of a form that is not known".to_owned(),
    }
}
