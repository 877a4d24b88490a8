//! Who makes faults, until it is calm.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use tokio::{sync::Mutex, task::JoinSet, time::sleep};

use crate::{
    Failure,
    client::{Phase, World},
    fleet::Order,
    proxy::{Mood, Proxy},
    run::SHORT_LEASE,
    store::StoreServer,
    tally::Count,
};

/// How often faults are made, on average.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Between two kills.
    pub(crate) kill: Duration,
    pub(crate) stall: Duration,
    /// On a wire to clients.
    pub(crate) wire: Duration,
    /// On a wire to the store.
    pub(crate) store_wire: Duration,
    pub(crate) restart: Duration,
    pub(crate) fill: Duration,
}

/// All who make faults. They come to their end when it is calm, and leave nothing behind.
pub(crate) fn start(
    world: &Arc<World>,
    store: &Arc<Mutex<StoreServer>>,
    pace: Pace,
    rng: &mut Rng,
) -> JoinSet<Result<(), Failure>> {
    let mut makers = JoinSet::new();
    let maker = |rng: &mut Rng| Maker {
        world: Arc::clone(world),
        rng: rng.fork(),
    };
    if world.mode.loses_servers() {
        makers.spawn(maker(rng).kill(pace.kill));
        makers.spawn(maker(rng).stall(pace.stall));
        // Two may stand still at the same time.
        makers.spawn(maker(rng).stall(pace.stall));
    }
    // One that is held or slow does not keep others from being cut.
    makers.spawn(maker(rng).disturb(pace.wire, Wire::Front));
    makers.spawn(maker(rng).disturb(pace.wire, Wire::Front));
    if world.mode.store_has_a_server() {
        makers.spawn(maker(rng).disturb(pace.store_wire, Wire::Back));
        makers.spawn(maker(rng).restart(pace.restart, Arc::clone(store)));
        if world.mode.store_can_be_filled() {
            makers.spawn(maker(rng).fill(pace.fill, Arc::clone(store)));
        }
    }
    makers
}

/// Which wire of a server.
#[derive(Clone, Copy, Debug)]
enum Wire {
    /// To its clients.
    Front,
    /// To the store.
    Back,
}

/// Makes one kind of fault.
struct Maker {
    world: Arc<World>,
    rng: Rng,
}

impl Maker {
    async fn kill(mut self, pace: Duration) -> Result<(), Failure> {
        while self.is_next(pace).await {
            let server = self.server();
            // Now and then one that is about to start.
            if self.world.fleet.is_serving(server) || self.rng.f64() < 0.1 {
                self.world.fleet.order(server, Order::Kill);
            }
        }
        Ok(())
    }

    async fn stall(mut self, pace: Duration) -> Result<(), Failure> {
        while self.is_next(pace).await {
            let server = self.server();
            let length = SHORT_LEASE.mul_f64(1.1 + self.rng.f64());
            self.world.fleet.order(server, Order::Stop);
            sleep(length).await;
            self.world.fleet.order(server, Order::Continue);
            self.world.tally.add(Count::Stalls);
        }
        Ok(())
    }

    async fn disturb(mut self, pace: Duration, which: Wire) -> Result<(), Failure> {
        while self.is_next(pace).await {
            let server = self.server();
            let fleet = &self.world.fleet;
            let wire = match which {
                Wire::Front => fleet.front(server),
                Wire::Back => fleet.back(server).expect("the store has a server"),
            }
            .clone();
            let short = Duration::from_millis(self.rng.u64(20..300));
            let (count, mood) = match self.rng.u32(..10) {
                0..5 => {
                    wire.cut();
                    self.world.tally.add(Count::Cuts);
                    continue;
                }
                5 => (
                    Count::Delays,
                    Mood::Slow(Duration::from_millis(self.rng.u64(5..100))),
                ),
                6 => (Count::Delays, Mood::Held),
                7 => (Count::Cuts, Mood::Closed),
                _ => (Count::Swallowed, Mood::Deaf),
            };
            // Sometimes for longer than a lease.
            let length = if self.rng.f64() < 0.05 {
                SHORT_LEASE.mul_f64(1.0 + self.rng.f64())
            } else {
                short
            };
            in_mood(&wire, mood, length).await;
            self.world.tally.add(count);
        }
        Ok(())
    }

    async fn restart(
        mut self,
        pace: Duration,
        store: Arc<Mutex<StoreServer>>,
    ) -> Result<(), Failure> {
        while self.is_next(pace).await {
            store.lock().await.restart(&mut self.rng).await?;
            self.world.tally.add(Count::Restarts);
        }
        Ok(())
    }

    async fn fill(mut self, pace: Duration, store: Arc<Mutex<StoreServer>>) -> Result<(), Failure> {
        while self.is_next(pace).await {
            let length = Duration::from_millis(self.rng.u64(50..800));
            let store = store.lock().await;
            store.fill(true).await?;
            sleep(length).await;
            store.fill(false).await?;
            self.world.tally.add(Count::Fills);
        }
        Ok(())
    }

    fn server(&mut self) -> usize {
        self.rng.usize(..self.world.fleet.len())
    }

    /// Waits for about as long as the pace says; `false` when it is calm.
    async fn is_next(&mut self, pace: Duration) -> bool {
        let pause = pace.mul_f64(0.2 + 1.6 * self.rng.f64());
        let mut phase = self.world.phase.subscribe();
        tokio::time::timeout(pause, phase.wait_for(|phase| *phase == Phase::Calm))
            .await
            .is_err()
    }
}

async fn in_mood(wire: &Proxy, mood: Mood, length: Duration) {
    wire.set(mood);
    if mood == Mood::Closed {
        wire.cut();
    }
    sleep(length).await;
    wire.set(Mood::Good);
}
