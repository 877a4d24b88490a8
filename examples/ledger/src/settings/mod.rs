//! What is set from outside, and the start.

mod error;
mod place;
#[cfg(test)]
mod tests;

use std::{
    env,
    ffi::OsString,
    fmt, io,
    io::Write as _,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use bytesize::ByteSize;
use idempotent_runtime::OnLost;

pub(crate) use self::error::causes;
pub use self::{
    error::{StartError, exit_code},
    place::{Address, Place},
};

/// For experiments, shorter than what an attribute may say.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST_LEASE: Duration = Duration::from_hours(1);
const LONGEST_TTL: Duration = Duration::from_hours(24 * 366);
const LEASE: &str = "give a duration from `100ms` to `1h`, such as `5s`";
const TTL: &str = "give a duration from `100ms` to `366d`, such as `24h`";

/// The settings of an application, which come from its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `LISTEN`: the address to listen on.
    pub listen: String,
    /// `STORE` and `LEDGER`: where outcomes and entries are kept.
    pub place: Place,
    /// `NEAR_CACHE_BYTES`: how much of this process's memory may hold copies of records.
    pub near_cache: Option<u64>,
    /// `LEASE`: in place of the attributes' `lease`. For experiments.
    pub lease: Option<Duration>,
    /// `TTL`: in place of the attributes' `ttl`. For experiments.
    pub ttl: Option<Duration>,
    /// `ON_LOST`: in place of the attributes' `on_lost`. For experiments.
    pub on_lost: Option<OnLost>,
    /// `ADMIN_TOKEN`: what operators must say to be let in; without it nobody is.
    pub admin_token: Option<AdminToken>,
}

/// A token, which is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken(String);

impl AdminToken {
    /// The token, to compare others with.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AdminToken(…)")
    }
}

impl Settings {
    /// Reads the environment. A variable that is empty counts as not set.
    ///
    /// # Errors
    ///
    /// [`StartError::Setting`].
    pub fn from_env(default_listen: &str) -> Result<Self, StartError> {
        Self::read(default_listen, |name| env::var_os(name))
    }

    fn read(
        default_listen: &str,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, StartError> {
        let set = |name| match variable(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value).filter(|value| !value.is_empty())),
            Some(Err(_)) => Err(StartError::Setting {
                variable: name,
                problem: "is not UTF-8".to_owned(),
                wanted: "write it in UTF-8",
            }),
        };
        Ok(Self {
            listen: set("LISTEN")?.unwrap_or_else(|| default_listen.to_owned()),
            place: Place::new(set("STORE")?, set("LEDGER")?)?,
            near_cache: set("NEAR_CACHE_BYTES")?
                .map(|value| bytes("NEAR_CACHE_BYTES", &value))
                .transpose()?
                .filter(|bytes| *bytes > 0),
            lease: set("LEASE")?
                .map(|value| duration("LEASE", &value, LONGEST_LEASE, LEASE))
                .transpose()?,
            ttl: set("TTL")?
                .map(|value| duration("TTL", &value, LONGEST_TTL, TTL))
                .transpose()?,
            on_lost: set("ON_LOST")?.map(|value| on_lost(&value)).transpose()?,
            admin_token: set("ADMIN_TOKEN")?.map(AdminToken),
        })
    }

    /// Listens, and says so on stdout, with what to try.
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
        let store = self.place.name();
        write!(
            io::stdout(),
            r#"{application} listens on http://{address} (STORE={store}). Open it in a browser
to break payments on purpose. Or pay, and pay again with the same key:

  curl -i http://{address}/payments -H 'Authorization: Bearer alice' \
    -H 'Idempotency-Key: order-1' -H 'Content-Type: application/json' \
    -d '{{"user": "alice", "amount": 100, "currency": "USD"}}'

However often it was sent, there is one payment:

  curl http://{address}/payments -H 'Authorization: Bearer alice'

"#
        )
    }
}

fn bytes(variable: &'static str, value: &str) -> Result<u64, StartError> {
    let size: Result<ByteSize, _> = value.parse();
    size.map(|size| size.as_u64())
        .map_err(|_| StartError::Setting {
            variable,
            problem: format!("is `{value}`, which is no size"),
            wanted: "give a number of bytes with a unit, such as `16MiB`, or `0` for none",
        })
}

fn on_lost(value: &str) -> Result<OnLost, StartError> {
    match value {
        "rerun" => Ok(OnLost::Rerun),
        "refuse" => Ok(OnLost::Refuse),
        _ => Err(StartError::Setting {
            variable: "ON_LOST",
            problem: format!("is `{value}`"),
            wanted: "give `rerun` or `refuse`",
        }),
    }
}

fn duration(
    variable: &'static str,
    value: &str,
    longest: Duration,
    wanted: &'static str,
) -> Result<Duration, StartError> {
    let problem = match humantime::parse_duration(value) {
        Ok(duration) if duration < SHORTEST => "too short",
        Ok(duration) if duration > longest => "too long",
        Ok(duration) => return Ok(duration),
        Err(_) => "no duration",
    };
    Err(StartError::Setting {
        variable,
        problem: format!("is `{value}`, which is {problem}"),
        wanted,
    })
}
