//! What is asked for on the command line.

use std::str::FromStr;

use crate::{floods::Flood, server::Settings};

pub(crate) const USAGE: &str = "\
usage: idempotent-hostile [OPTION …]

  --framework NAME   axum or actix; both unless given
  --flood NAME       one of the floods; may be repeated; all of them unless given
  --short            a tenth of the connections and fewer keys, for a machine in a hurry
  --break NAME       a server that is wrong, which must be found out:
                     unprotected   handlers without the attribute
                     budget        a store that may take sixteen times what is promised";

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) frameworks: Vec<Framework>,
    pub(crate) floods: Vec<Flood>,
    pub(crate) short: bool,
    pub(crate) broken: Option<Broken>,
}

/// Which framework is flooded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framework {
    Axum,
    Actix,
}

/// What is wrong with the server, to see whether it is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Unprotected,
    Budget,
}

impl Framework {
    const ALL: [Self; 2] = [Self::Axum, Self::Actix];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Axum => "axum",
            Self::Actix => "actix",
        }
    }
}

impl FromStr for Framework {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| format!("there is no framework {name}"))
    }
}

impl Options {
    /// `None` where help is asked for.
    pub(crate) fn from_arguments(
        mut arguments: impl Iterator<Item = String>,
    ) -> Result<Option<Self>, String> {
        let mut options = Self {
            frameworks: Vec::new(),
            floods: Vec::new(),
            short: false,
            broken: None,
        };
        while let Some(name) = arguments.next() {
            match &*name {
                "--help" | "-h" => return Ok(None),
                "--short" => {
                    options.short = true;
                    continue;
                }
                _ => {}
            }
            let value = arguments.next().ok_or(format!("{name} has no value"))?;
            match (&*name, &*value) {
                ("--framework", _) => options.frameworks.push(value.parse()?),
                ("--flood", _) => options.floods.push(value.parse()?),
                ("--break", "unprotected") => options.broken = Some(Broken::Unprotected),
                ("--break", "budget") => options.broken = Some(Broken::Budget),
                _ => return Err(format!("{name} {value} is not known")),
            }
        }
        if options.frameworks.is_empty() {
            options.frameworks = Framework::ALL.to_vec();
        }
        if options.floods.is_empty() {
            options.floods = Flood::ALL.to_vec();
        }
        Ok(Some(options))
    }
}

/// What a server is told that this program starts of itself: framework, budget, protected.
pub(crate) fn settings(mut arguments: impl Iterator<Item = String>) -> Option<Settings> {
    Some(Settings {
        framework: arguments.next()?.parse().ok()?,
        budget: arguments.next()?.parse().ok()?,
        protected: arguments.next()?.parse().ok()?,
    })
}
