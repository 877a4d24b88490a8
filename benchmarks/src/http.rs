//! What each system takes of a server over HTTP on loopback: the servers share one core and take
//! turns, the client has another.

use std::{fs, time::Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;

use crate::{
    child::Child,
    in_process::fresh_key,
    load::Connection,
    payment::{LOGIN, PAYMENTS},
    ratios::{PER_SESSION, median},
    system::System,
};

const CONNECTIONS: usize = 16;
const ROUNDS: usize = 11;
/// On each connection, in each round.
const REQUESTS: usize = 500;

/// Of one path through one system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    /// Requests a second, and the server's processor time for one, in seconds.
    pub(crate) rate: f64,
    pub(crate) cpu: f64,
}

/// First execution, replay, no key.
pub(crate) type Paths = [Option<Served>; 3];

pub(crate) struct Server {
    pub(crate) system: System,
    process: Child,
    pub(crate) connections: Vec<Connection>,
    /// One for each connection.
    pub(crate) sessions: Vec<String>,
}

impl Server {
    pub(crate) async fn start(system: System) -> Result<Self> {
        let mut process = Child::start("serve", system)?;
        let port = process.line()?.trim().parse()?;
        let mut connections = Vec::new();
        let mut sessions = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut connection = Connection::open(port).await?;
            sessions.push(login(system, &mut connection).await?);
            connections.push(connection);
        }
        Ok(Self {
            system,
            process,
            connections,
            sessions,
        })
    }

    /// What all of its threads have had of the processor, in seconds.
    fn cpu(&self) -> Result<f64> {
        let mut nanos = 0.0;
        for task in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let scheduled = fs::read_to_string(task?.path().join("schedstat"))?;
            let on_cpu = scheduled.split(' ').next().context("times of a thread")?;
            nanos += on_cpu.parse::<f64>()?;
        }
        Ok(nanos / 1e9)
    }

    async fn round(&mut self, path: usize) -> Result<Served> {
        let mut sessions = Vec::new();
        for (connection, session) in self.connections.iter_mut().zip(&self.sessions) {
            let mut own = vec![session.clone()];
            if path == 0 && self.system.has_sessions() {
                // First executions grow a session.
                own.clear();
                for _ in 0..REQUESTS.div_ceil(PER_SESSION) {
                    own.push(login(self.system, connection).await?);
                }
            }
            sessions.push(own);
        }
        let (before, started) = (self.cpu()?, Instant::now());
        let connections = self.connections.iter_mut().enumerate();
        let load = connections
            .zip(&sessions)
            .map(async |((at, connection), sessions)| {
                let replayed = format!("{at:08x}-ffff-4000-8000-000000000000");
                for request in 0..REQUESTS {
                    let fresh = (path == 0).then(fresh_key);
                    let key = match path {
                        0 => fresh.as_deref(),
                        1 => Some(&*replayed),
                        _ => None,
                    };
                    let session = sessions.get(request / PER_SESSION).unwrap_or(&sessions[0]);
                    let status = connection.post(PAYMENTS, session, key).await?;
                    ensure!(status == 201, "a payment was answered {status}");
                }
                Ok(())
            });
        try_join_all(load).await?;
        let (elapsed, cpu) = (started.elapsed().as_secs_f64(), self.cpu()? - before);
        #[allow(clippy::cast_precision_loss)] // Far below what a float counts.
        let requests = (CONNECTIONS * REQUESTS) as f64;
        Ok(Served {
            rate: requests / elapsed,
            cpu: cpu / requests,
        })
    }
}

async fn login(system: System, connection: &mut Connection) -> Result<String> {
    if system.has_sessions() {
        connection.login(LOGIN).await
    } else {
        Ok(String::new())
    }
}

/// Medians of every path through every system.
pub(crate) async fn measure(servers: &mut [Server]) -> Result<Vec<(System, Paths)>> {
    let mut rounds = vec![[const { Vec::new() }; 3]; servers.len()];
    for round in 0..=ROUNDS {
        for path in 0..3 {
            for (server, rounds) in servers.iter_mut().zip(&mut rounds) {
                let served = server.round(path).await?;
                // The first round warms up.
                if round > 0 {
                    rounds[path].push(served);
                }
            }
        }
    }
    let paths = servers.iter().zip(rounds).map(|(server, rounds)| {
        let [first, replay, no_key] = rounds.map(|served| Served {
            rate: median(&mut served.iter().map(|served| served.rate).collect::<Vec<_>>()),
            cpu: median(&mut served.iter().map(|served| served.cpu).collect::<Vec<_>>()),
        });
        let no_key = server.system.knows_no_key().then_some(no_key);
        (server.system, [Some(first), Some(replay), no_key])
    });
    Ok(paths.collect())
}
