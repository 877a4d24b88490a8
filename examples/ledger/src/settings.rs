//! What is set from outside, and the start.

use std::{
    env,
    error::Error,
    fmt, io,
    io::Write as _,
    net::{SocketAddr, TcpListener},
    process::ExitCode,
};

/// The settings of an application, which come from its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `LISTEN`: the address to listen on.
    pub listen: String,
    /// `STORE`: where outcomes are recorded.
    pub store: Store,
}

/// Where outcomes are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// In this process.
    Memory,
}

/// Why an application does not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// `STORE` is none of those that are supported.
    UnknownStore(String),
    /// The address cannot be listened on.
    Listen(String, io::Error),
}

impl Settings {
    /// Reads the environment. A variable that is empty counts as not set.
    ///
    /// # Errors
    ///
    /// [`StartError::UnknownStore`].
    pub fn from_env(default_listen: &str) -> Result<Self, StartError> {
        Self::read(default_listen, |name| {
            Some(env::var_os(name)?.to_string_lossy().into_owned())
        })
    }

    fn read(
        default_listen: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, StartError> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let store = match set("STORE") {
            None => Store::Memory,
            Some(name) if name == Store::Memory.name() => Store::Memory,
            Some(other) => return Err(StartError::UnknownStore(other)),
        };
        Ok(Self {
            listen: set("LISTEN").unwrap_or_else(|| default_listen.to_owned()),
            store,
        })
    }

    /// Listens, and says so on stdout, with two commands to try.
    ///
    /// # Errors
    ///
    /// [`StartError::Listen`].
    pub fn listen(&self, application: &str) -> Result<TcpListener, StartError> {
        let listener = self
            .bind()
            .map_err(|error| StartError::Listen(self.listen.clone(), error))?;
        // Without anybody to read the lines the application serves all the same.
        let _ = listener
            .local_addr()
            .and_then(|address| self.greet(application, address));
        Ok(listener)
    }

    fn bind(&self) -> io::Result<TcpListener> {
        let listener = TcpListener::bind(&self.listen)?;
        // What an async runtime wants of a listener.
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    fn greet(&self, application: &str, address: SocketAddr) -> io::Result<()> {
        let store = self.store.name();
        write!(
            io::stdout(),
            r#"{application} listens on http://{address} (STORE={store}). Pay, and pay again with the same key:

  curl -i http://{address}/payments -H 'Authorization: Bearer alice' \
    -H 'Idempotency-Key: order-1' -H 'Content-Type: application/json' \
    -d '{{"user": "alice", "amount": 100, "currency": "USD"}}'

However often it was sent, there is one payment:

  curl http://{address}/payments -H 'Authorization: Bearer alice'

"#
        )
    }
}

impl Store {
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
        }
    }
}

/// How the process ends; an error is said on stderr.
#[must_use]
pub fn exit_code(result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownStore(name) => write!(
                formatter,
                "STORE is `{name}`, which is not supported; the supported store is `{}`",
                Store::Memory.name(),
            ),
            Self::Listen(address, error) => {
                write!(formatter, "cannot listen on `{address}` (LISTEN): {error}")
            }
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::UnknownStore(_) => None,
            Self::Listen(_, error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, StartError> {
        Settings::read("127.0.0.1:3000", |wanted| {
            let mut set = variables.iter().filter(|(name, _)| *name == wanted);
            set.next().map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_need_be_set() {
        let settings = Settings {
            listen: "127.0.0.1:3000".to_owned(),
            store: Store::Memory,
        };
        assert_eq!(read(&[]).unwrap(), settings);
        assert_eq!(read(&[("LISTEN", ""), ("STORE", "")]).unwrap(), settings);
    }

    #[test]
    fn what_is_set_is_taken() {
        let settings = read(&[("LISTEN", "[::1]:80"), ("STORE", "memory")]).unwrap();
        assert_eq!(settings.listen, "[::1]:80");
        assert_eq!(settings.store, Store::Memory);
    }

    #[test]
    fn a_store_that_is_not_supported_is_named() {
        let error = read(&[("STORE", "redis")]).unwrap_err().to_string();
        assert!(
            error.contains("`redis`") && error.contains("`memory`"),
            "{error}"
        );
    }
}
