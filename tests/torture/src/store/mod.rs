//! The store's own server, private to one mode: to be killed, started again and filled.

mod postgres;
mod redis;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::ExitStatus,
    time::Duration,
};

use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{process::Child, time::timeout};

use self::{postgres::Postgres, redis::Redis};
use crate::{Failure, mode::Mode};

/// How long a server may take to start or to end, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where the records are.
#[derive(Debug)]
pub(crate) enum StoreServer {
    /// In the servers themselves, or in a file.
    None,
    Postgres(Postgres),
    Redis(Redis),
}

impl StoreServer {
    /// Starts what the mode needs, with its data in `scratch`.
    pub(crate) async fn start(mode: Mode, scratch: &Path) -> Result<Self, Failure> {
        Ok(match mode {
            Mode::Memory | Mode::Sqlite => Self::None,
            Mode::Postgres | Mode::PostgresRefuse => {
                Self::Postgres(Postgres::start(scratch).await?)
            }
            Mode::RedisRefuse | Mode::RedisRerun | Mode::RedisMild => {
                Self::Redis(Redis::start(scratch).await?)
            }
        })
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::None => None,
            Self::Postgres(postgres) => Some(postgres.address()),
            Self::Redis(redis) => Some(redis.address()),
        }
    }

    /// Kills it in one of several ways, and starts it again.
    pub(crate) async fn restart(&mut self, rng: &mut Rng) -> Result<(), Failure> {
        match self {
            Self::None => Ok(()),
            Self::Postgres(postgres) => postgres.restart(rng).await,
            Self::Redis(redis) => redis.restart().await,
        }
    }

    /// Takes its room, or gives it back, where that can be done.
    pub(crate) async fn fill(&self, full: bool) -> Result<(), Failure> {
        match self {
            Self::None | Self::Postgres(_) => Ok(()),
            Self::Redis(redis) => redis.fill(full).await,
        }
    }
}

/// An address on which nobody listens.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid.and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

async fn ended(child: &mut Child) -> Result<ExitStatus, Failure> {
    let status = timeout(PATIENCE, child.wait()).await;
    Ok(status.map_err(|_| "a store's server does not end")??)
}
