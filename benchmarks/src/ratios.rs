//! What each system takes of time, in process: first execution, replay, and no key at all, as
//! ratios to the bare application that gets the same requests in turns with it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::{
    in_process::{Call, InProcess, fresh_key},
    system::System,
};

const ROUNDS: usize = 25;
const REQUESTS: usize = 1_000;
/// A caller with a session has made this many payments at most: no system is held to what its
/// sessions take once they are large. See `growth`.
pub(crate) const PER_SESSION: usize = 50;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratios {
    pub(crate) first: f64,
    pub(crate) replay: f64,
    pub(crate) no_key: Option<f64>,
}

/// What one request to a bare application takes, in seconds, and every system's ratios to it.
pub(crate) struct InProcessResults {
    pub(crate) bare: Vec<(System, f64)>,
    pub(crate) ratios: Vec<(System, Ratios)>,
}

pub(crate) fn measure() -> InProcessResults {
    let apps: Vec<InProcess> = System::ALL.into_iter().map(InProcess::new).collect();
    let sessions: Vec<_> = apps.iter().map(InProcess::login).collect();
    // By path, then by system, then by round.
    let mut times = vec![vec![Vec::new(); apps.len()]; 3];
    for round in 0..=ROUNDS {
        for (at, app) in apps.iter().enumerate() {
            let replayed = |_| Call {
                session: sessions[at].clone(),
                key: Some("00000000-0000-4000-8000-000000000000".to_owned()),
            };
            let keyless = |_| Call {
                session: sessions[at].clone(),
                key: None,
            };
            let batches = [
                fresh_calls(app, REQUESTS),
                (0..REQUESTS).map(replayed).collect(),
                (0..REQUESTS).map(keyless).collect(),
            ];
            for (path, calls) in batches.into_iter().enumerate() {
                let time = timed(app, &calls);
                // The first round warms up.
                if round > 0 {
                    times[path][at].push(time);
                }
            }
        }
    }
    let [first, replay, no_key] = [0, 1, 2].map(|path: usize| {
        let medians = times[path].iter_mut().map(|times| median(times));
        System::ALL.into_iter().zip(medians).collect::<Vec<_>>()
    });
    let ratio =
        |of: &[(System, f64)], system: System| time_of(of, system) / time_of(of, system.bare());
    let ratios = System::ALL.into_iter().map(|system| {
        let ratios = Ratios {
            first: ratio(&first, system),
            replay: ratio(&replay, system),
            no_key: system.knows_no_key().then(|| ratio(&no_key, system)),
        };
        (system, ratios)
    });
    InProcessResults {
        ratios: ratios.collect(),
        bare: first
            .into_iter()
            .filter(|(system, _)| system.is_bare())
            .collect(),
    }
}

/// Payments with a key of their own each.
pub(crate) fn fresh_calls(app: &InProcess, requests: usize) -> Vec<Call> {
    let mut calls = Vec::with_capacity(requests);
    while calls.len() < requests {
        let session = app.login();
        let more = (requests - calls.len()).min(PER_SESSION);
        calls.extend((0..more).map(|_| Call {
            session: session.clone(),
            key: Some(fresh_key()),
        }));
    }
    calls
}

/// What one of these takes of the processor, in seconds. Everything happens in this thread; what
/// other processes take of the core meanwhile does not count.
#[allow(clippy::cast_precision_loss)] // Far below what a float counts.
pub(crate) fn timed(app: &InProcess, calls: &[Call]) -> f64 {
    let before = processor_time();
    app.pay(calls);
    (processor_time() - before) / calls.len() as f64
}

fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).map_or(0.0, |time| time.as_secs_f64())
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn time_of(times: &[(System, f64)], system: System) -> f64 {
    times
        .iter()
        .find_map(|&(of, time)| (of == system).then_some(time))
        .expect("every system is measured")
}
