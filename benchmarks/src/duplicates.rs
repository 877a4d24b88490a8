//! One key from all connections at once: how often does the handler run?

use std::{collections::BTreeMap, time::Instant};

use anyhow::Result;
use futures_util::future::try_join_all;

use crate::{
    http::Server,
    in_process::fresh_key,
    payment::{RUNS, SLOW, SLOW_WAIT},
    ratios::median,
    system::System,
};

const ROUNDS: usize = 9;

/// Of one system, or of one way to set it up.
#[derive(Clone, Debug)]
pub(crate) struct Duplicates {
    pub(crate) system: System,
    /// Whether the duplicates wait for the first one's outcome.
    pub(crate) waiting: bool,
    /// The handler's runs, of all the rounds the least and the most.
    pub(crate) runs: (u64, u64),
    /// Until the last one was answered, in seconds.
    pub(crate) time: f64,
    /// How many were answered with which status, in the last round.
    pub(crate) statuses: BTreeMap<u16, usize>,
}

pub(crate) async fn measure(servers: &mut [Server]) -> Result<Vec<Duplicates>> {
    let mut measured = Vec::new();
    for server in servers {
        measured.push(of(server, false).await?);
        if matches!(server.system, System::Axum | System::Actix) {
            measured.push(of(server, true).await?);
        }
    }
    Ok(measured)
}

async fn of(server: &mut Server, waiting: bool) -> Result<Duplicates> {
    let path = if waiting { SLOW_WAIT } else { SLOW };
    let (mut times, mut runs) = (Vec::new(), Vec::new());
    let mut statuses = BTreeMap::new();
    for _ in 0..ROUNDS {
        let before = runs_of(server).await?;
        // A caller's retries are one caller's.
        let (key, session) = (fresh_key(), server.sessions[0].clone());
        let started = Instant::now();
        let requests = server
            .connections
            .iter_mut()
            .map(|connection| connection.post(path, &session, Some(&key)));
        let answered = try_join_all(requests).await?;
        times.push(started.elapsed().as_secs_f64());
        runs.push(runs_of(server).await? - before);
        statuses.clear();
        for status in answered {
            *statuses.entry(status).or_default() += 1;
        }
    }
    runs.sort_unstable();
    Ok(Duplicates {
        system: server.system,
        waiting,
        runs: (runs[0], runs[ROUNDS - 1]),
        time: median(&mut times),
        statuses,
    })
}

async fn runs_of(server: &mut Server) -> Result<u64> {
    let body = server.connections[0].get(RUNS).await?;
    Ok(String::from_utf8(body)?.parse()?)
}
