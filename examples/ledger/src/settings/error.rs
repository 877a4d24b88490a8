//! Why an application does not start.

use std::{error::Error, fmt, io, process::ExitCode};

/// Why an application does not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A variable has a value that is not understood, or is missing.
    Setting {
        /// Its name.
        variable: &'static str,
        /// What is wrong with it, without a value that may hold a password.
        problem: String,
        /// What to do.
        wanted: &'static str,
    },
    /// The ledger's database cannot be opened.
    Ledger {
        /// The variable that names the database.
        variable: &'static str,
        /// Which database it is.
        database: String,
        /// Why it cannot be opened.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The store cannot be opened.
    Store(Box<dyn Error + Send + Sync>),
    /// The address cannot be listened on.
    Listen(String, io::Error),
}

impl StartError {
    /// The store cannot be opened, for this reason.
    pub fn store(source: impl Error + Send + Sync + 'static) -> Self {
        Self::Store(Box::new(source))
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting {
                variable,
                problem,
                wanted,
            } => write!(formatter, "{variable} {problem}; {wanted}"),
            Self::Ledger {
                variable, database, ..
            } => write!(
                formatter,
                "cannot open {database} ({variable}): see that it is there and that this process \
                 may write in it"
            ),
            Self::Store(_) => formatter.write_str(
                "cannot open the store (STORE): see that it is there and that this process may \
                 write in it",
            ),
            Self::Listen(address, _) => write!(
                formatter,
                "cannot listen on `{address}` (LISTEN): give a free address, such as \
                 `127.0.0.1:8080`"
            ),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Setting { .. } => None,
            Self::Ledger { source, .. } | Self::Store(source) => Some(&**source),
            Self::Listen(_, source) => Some(source),
        }
    }
}

/// How the process ends; an error is said on stderr, with its causes.
#[must_use]
pub fn exit_code(result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes in one line; a cause that an error tells by itself is not told again.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !line.ends_with(&cause_text) {
            line.push_str(": ");
            line.push_str(&cause_text);
        }
        source = cause.source();
    }
    line
}
