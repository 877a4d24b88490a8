//! What goes wrong, and when.

use std::time::Duration;

use fastrand::Rng;
use turmoil::Sim;

use crate::{
    LEASE,
    client::{client_name, server_name},
    mode::Mode,
    world::World,
};

/// For so long there are faults.
pub(crate) const STORMY: Duration = Duration::from_secs(6);

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The server ends.
    Crash,
    /// It starts again.
    Start,
    /// The server stands still, and what is sent to it waits.
    Stall {
        until: Duration,
    },
    /// What was sent to it arrives.
    GoOn,
    /// What is sent between the server and the clients is lost.
    Part,
    Heal,
    /// The server cannot reach the store.
    CutOff {
        until: Duration,
    },
}

/// What goes wrong, in its order.
pub(crate) struct Faults {
    events: Vec<(Duration, usize, Fault)>,
    clients: usize,
}

impl Faults {
    pub(crate) fn new(mode: Mode, clients: usize, rng: &mut Rng) -> Self {
        let mut events = Vec::new();
        for server in 0..mode.servers() {
            let mut at = Duration::from_millis(rng.u64(100..2000));
            while at < STORMY {
                let long = Duration::from_millis(rng.u64(50..2 * LEASE.as_secs() * 1000 + 500));
                let until = (at + long).min(STORMY);
                let kinds = if mode.loses_servers() { 4 } else { 1 };
                let (first, last) = match rng.u32(..kinds) {
                    0 => (Fault::Part, Some(Fault::Heal)),
                    1 => (Fault::Crash, Some(Fault::Start)),
                    2 => (Fault::Stall { until }, Some(Fault::GoOn)),
                    _ => (Fault::CutOff { until }, None),
                };
                events.push((at, server, first));
                events.extend(last.map(|last| (until, server, last)));
                at = until + Duration::from_millis(rng.u64(100..2500));
            }
        }
        events.sort_by_key(|(at, server, _)| (*at, *server));
        events.reverse();
        Self { events, clients }
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, sim: &mut Sim<'_>, world: &World) {
        while let Some((_, server, fault)) = self.events.pop_if(|(at, ..)| *at <= sim.elapsed()) {
            world.note(format_args!("server {server}: {fault:?}"));
            let name = server_name(server);
            let clients = (0..self.clients).map(client_name);
            match fault {
                Fault::Crash => sim.crash(&*name),
                Fault::Start => sim.bounce(&*name),
                Fault::Stall { until } => {
                    world.lock().stalled[server] = until;
                    clients.for_each(|client| sim.hold(&*name, &*client));
                }
                Fault::GoOn => clients.for_each(|client| sim.release(&*name, &*client)),
                Fault::Part => clients.for_each(|client| sim.partition(&*name, &*client)),
                Fault::Heal => clients.for_each(|client| sim.repair(&*name, &*client)),
                Fault::CutOff { until } => world.lock().cut_off[server] = until,
            }
        }
        if self.events.is_empty() && sim.elapsed() >= STORMY {
            world.lock().is_calm = true;
        }
    }
}
