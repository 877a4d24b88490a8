//! What is asked for on the command line.

use std::{path::PathBuf, str::FromStr, time::Duration};

use crate::mode::Mode;

pub(crate) const USAGE: &str = "\
usage: idempotent-torture [OPTION …]

  --mode NAME      memory, sqlite, postgres, postgres-refuse, redis-refuse, redis-rerun or
                   redis-mild; may be repeated; all of them unless given
  --seconds N      how long there are faults in each mode (7)
  --kills N        go on until so many servers were killed in all modes together; the modes are
                   sqlite and postgres unless given
  --clients N      how many clients retry at the same time (200)
  --servers N      how many servers are on one store (6)
  --seed N         of what is random in clients and faults
  --break new-key  clients that make a new key for each attempt, which must be found out
  --programs DIR   where axum-payments and actix-payments are; built unless given
  --logs DIR       keeps what the servers log, as RUST_LOG says";

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) modes: Vec<Mode>,
    pub(crate) until: Until,
    pub(crate) clients: usize,
    pub(crate) servers: usize,
    pub(crate) seed: u64,
    pub(crate) keys: Keys,
    pub(crate) programs: Option<PathBuf>,
    pub(crate) logs: Option<PathBuf>,
}

/// How long there are faults in one mode.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// For so long.
    Elapsed(Duration),
    /// Until so many servers were killed.
    Kills(u64),
}

/// How often a client makes a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Once for each operation, as it should.
    PerOperation,
    /// For each attempt, which is the mistake that keys are to prevent.
    PerAttempt,
}

impl Options {
    /// `None` where help is asked for.
    pub(crate) fn from_arguments(
        arguments: impl Iterator<Item = String>,
    ) -> Result<Option<Self>, String> {
        let mut options = Self {
            modes: Vec::new(),
            until: Until::Elapsed(Duration::from_secs(7)),
            clients: 200,
            servers: 6,
            seed: fastrand::u64(..1_000_000),
            keys: Keys::PerOperation,
            programs: None,
            logs: None,
        };
        let mut kills: Option<u64> = None;
        let mut arguments = arguments.peekable();
        while let Some(name) = arguments.next() {
            if name == "--help" || name == "-h" {
                return Ok(None);
            }
            let value = arguments.next().ok_or(format!("{name} has no value"))?;
            match &*name {
                "--mode" => options.modes.push(mode(&value)?),
                "--seconds" => {
                    let seconds = number(&name, &value)?;
                    options.until = Until::Elapsed(Duration::from_secs(seconds));
                }
                "--kills" => kills = Some(number(&name, &value)?),
                "--clients" => options.clients = number(&name, &value)?,
                "--servers" => options.servers = number(&name, &value)?,
                "--seed" => options.seed = number(&name, &value)?,
                "--break" if value == "new-key" => options.keys = Keys::PerAttempt,
                "--break" => return Err(format!("--break {value} is not known")),
                "--programs" => options.programs = Some(value.into()),
                "--logs" => options.logs = Some(value.into()),
                _ => return Err(format!("{name} is not known")),
            }
        }
        if options.clients == 0 || options.servers == 0 {
            return Err("at least one client and one server are needed".to_owned());
        }
        match kills {
            None if options.modes.is_empty() => options.modes = Mode::ALL.to_vec(),
            Some(_) if options.modes.is_empty() => {
                options.modes = vec![Mode::Sqlite, Mode::Postgres];
            }
            Some(_) if !options.modes.iter().all(|mode| mode.loses_servers()) => {
                return Err("in memory and redis-mild no server is killed".to_owned());
            }
            _ => {}
        }
        if let Some(kills) = kills {
            let modes = options.modes.len() as u64;
            options.until = Until::Kills(kills.div_ceil(modes));
        }
        Ok(Some(options))
    }
}

fn mode(name: &str) -> Result<Mode, String> {
    let mut modes = Mode::ALL.into_iter();
    let found = modes.find(|mode| mode.name() == name);
    found.ok_or_else(|| format!("there is no mode {name}"))
}

fn number<N: FromStr>(name: &str, value: &str) -> Result<N, String> {
    let number = value.parse();
    number.map_err(|_| format!("{name} {value} is no number"))
}
