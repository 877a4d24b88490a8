//! The real engine, in axum handlers with the real attribute, on a simulated network, a simulated
//! store and a simulated clock. One seed is one history.

mod client;
mod database;
mod faults;
mod mode;
mod server;
mod store;
mod verdict;
mod world;

use std::time::Duration;

use fastrand::Rng;

use self::{
    client::{Client, client_name, server_name},
    database::Operation,
    faults::Faults,
    verdict::Answers,
    world::World,
};
pub use self::{mode::Mode, verdict::Verdict};

/// How long a claim is believed.
const LEASE: Duration = Duration::from_secs(1);
const CLIENTS: usize = 4;
const OPERATIONS: Operation = 8;
/// After so long everything must have come to its end.
const LONGEST: Duration = Duration::from_mins(2);

/// What came of one seed.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was simulated.
    pub mode: Mode,
    /// Whether the promises were kept.
    pub verdict: Verdict,
    /// A number that is the same for the same history.
    pub trace: u64,
    /// What happened, if it was asked for.
    pub history: Option<String>,
    /// How much time passed in the simulation.
    pub simulated: Duration,
}

impl Report {
    /// Whether all is as it was promised.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.verdict.is_kept(self.mode)
    }
}

/// Simulates one seed, and keeps its history if that is asked for.
///
/// # Panics
///
/// When the simulation itself does not hold together.
#[must_use]
pub fn simulate(seed: u64, mode: Mode, keeps_history: bool) -> Report {
    let mut rng = Rng::with_seed(seed);
    let world = World::new(mode, rng.u64(..), keeps_history);
    let answers = Answers::default();
    let mut sim = turmoil::Builder::new()
        .rng_seed(rng.u64(..))
        .simulation_duration(LONGEST)
        .tick_duration(Duration::from_millis(10))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(25))
        .enable_random_order()
        .build();
    let memory = server::memory_store(&world);
    for index in 0..mode.servers() {
        let (world, memory) = (world.clone(), memory.clone());
        sim.host(server_name(index), move || {
            server::serve(world.clone(), index, memory.clone())
        });
    }
    let mut lists = vec![Vec::new(); CLIENTS];
    for operation in 1..=OPERATIONS {
        let first = rng.usize(..CLIENTS);
        lists[first].push(operation);
        // Some operations are two clients' affair, who send the same.
        if rng.bool() {
            lists[(first + 1) % CLIENTS].push(operation);
        }
    }
    for (index, operations) in lists.into_iter().enumerate() {
        let client = Client {
            index,
            world: world.clone(),
            operations,
            answers: answers.clone(),
        };
        sim.client(client_name(index), client.run());
    }
    let mut faults = Faults::new(mode, CLIENTS, &mut rng);
    let ended = loop {
        faults.tick(&mut sim, &world);
        match sim.step() {
            Ok(false) => {}
            Ok(true) => break true,
            // Somebody has not settled, which is found in the answers.
            Err(_) => break false,
        }
    };
    let simulated = sim.elapsed();
    if !ended {
        world.note(format_args!("not all came to an end"));
    }
    drop(sim);
    let verdict = answers.judge(&world, OPERATIONS);
    let (trace, history) = world.finish();
    Report {
        seed,
        mode,
        verdict,
        trace,
        history,
        simulated,
    }
}
