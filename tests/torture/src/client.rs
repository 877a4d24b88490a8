//! A client that wants payments made, and retries until it is certain of each.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use fastrand::Rng;
use http_body_util::Full;
use hyper::Request;
use serde_json::json;
use tokio::{sync::watch, time::sleep};

use crate::{
    fleet::Fleet,
    http::{Connection, exchange},
    mode::Mode,
    operation::{Asked, Attempt, Operation, Told},
    options::Keys,
    run::SHORT_LEASE,
    tally::{Count, Tally},
};

/// How many answers are longer than what is kept of them, and how long.
const OVERSIZE_SHARE: f64 = 0.003;
const OVERSIZE: usize = 1_200_000;

/// How long a client waits for an answer when nobody makes faults.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a client may take to settle an operation, once it is calm.
const SETTLE: Duration = Duration::from_mins(1);

/// Whether faults are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Faults are made, and new operations begun.
    Storm,
    /// No faults are made any more. What is open is settled.
    Calm,
}

/// What all clients share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) mode: Mode,
    pub(crate) keys: Keys,
    pub(crate) fleet: Fleet,
    pub(crate) tally: Tally,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) started: Instant,
    pub(crate) operations: AtomicU64,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    world: Arc<World>,
    user: String,
    rng: Rng,
    connections: HashMap<usize, Connection>,
    phase: watch::Receiver<Phase>,
}

impl Client {
    pub(crate) fn new(world: &Arc<World>, index: usize, rng: Rng) -> Self {
        Self {
            world: Arc::clone(world),
            user: Self::name(index),
            rng,
            connections: HashMap::new(),
            phase: world.phase.subscribe(),
        }
    }

    /// How a client is called.
    pub(crate) fn name(index: usize) -> String {
        format!("client-{index}")
    }

    /// Begins operations for as long as there are faults, then settles what is open. Gives all of
    /// them back.
    pub(crate) async fn pay(mut self) -> Vec<Operation> {
        let mut operations = Vec::new();
        let mut open = Vec::new();
        while self.phase() == Phase::Storm {
            let mut operation = match self.rng.usize(..4) {
                // One that was left alone for a while.
                0 if !open.is_empty() => open.swap_remove(self.rng.usize(..open.len())),
                _ => {
                    let number = self.world.operations.fetch_add(1, Ordering::Relaxed) + 1;
                    Operation::new(number, &self.user)
                }
            };
            self.attempt_for_a_while(&mut operation).await;
            if operation.end().is_none() {
                open.push(operation);
            } else {
                operations.push(operation);
            }
        }
        // Nothing that faults left behind is used.
        self.connections.clear();
        for mut operation in open {
            self.settle(&mut operation).await;
            operations.push(operation);
        }
        operations
    }

    /// Sends it until an answer is certain, whatever was certain before, or nothing comes.
    pub(crate) async fn settle(&mut self, operation: &mut Operation) {
        let before = operation.ends().count();
        let deadline = Instant::now() + SETTLE;
        operation.is_settled = false;
        while !operation.is_settled && Instant::now() < deadline {
            self.attempt(operation).await;
            operation.is_settled = operation.ends().count() > before;
            self.pause(operation).await;
        }
    }

    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Sends it until the outcome is certain, and sometimes once more; or leaves it alone.
    async fn attempt_for_a_while(&mut self, operation: &mut Operation) {
        while self.phase() == Phase::Storm {
            self.attempt(operation).await;
            if operation.end().is_some() {
                if self.rng.f64() < 0.1 {
                    self.attempt(operation).await;
                }
                return;
            }
            if self.rng.f64() < 0.05 {
                return;
            }
            self.pause(operation).await;
        }
    }

    /// Sends it once, or to two servers at the same time.
    async fn attempt(&mut self, operation: &mut Operation) {
        let (first, second) = (self.server(), self.server());
        if self.phase() == Phase::Storm && first != second && self.rng.f64() < 0.05 {
            let (one, other) = (
                self.request(operation, first),
                self.request(operation, second),
            );
            let (one, other) = tokio::join!(one.send(&self.world), other.send(&self.world));
            self.note(operation, one);
            self.note(operation, other);
        } else {
            let request = self.request(operation, first);
            let sent = request.send(&self.world).await;
            self.note(operation, sent);
        }
    }

    fn note(&mut self, operation: &mut Operation, sent: Sent) {
        let Sent(connection, attempt) = sent;
        if let Some(connection) = connection {
            self.connections.insert(attempt.server, connection);
        }
        let tally = &self.world.tally;
        tally.add(Count::Attempts);
        match &attempt.told {
            told if told.is_replay() => tally.add(Count::Replays),
            Told::InFlight { .. } => tally.add(Count::InFlight),
            Told::Unavailable => tally.add(Count::Unavailable),
            Told::Nothing { .. } => tally.add(Count::Unheard),
            _ => {}
        }
        operation.attempts.push(attempt);
    }

    /// Any server, and rather one that serves.
    fn server(&mut self) -> usize {
        let fleet = &self.world.fleet;
        if self.rng.f64() < 0.05 {
            return self.rng.usize(..fleet.len());
        }
        let serving = (0..fleet.len()).filter(|server| fleet.is_serving(*server));
        let serving: Vec<usize> = serving.collect();
        self.rng.choice(serving).unwrap_or(0)
    }

    fn request(&mut self, operation: &Operation, server: usize) -> Prepared {
        let asked = self.asked();
        let key = match self.world.keys {
            Keys::PerOperation => format!("operation-{}", operation.number),
            Keys::PerAttempt => format!(
                "operation-{}-attempt-{}-{server}",
                operation.number,
                operation.attempts.len()
            ),
        };
        let body = json!({ "user": operation.user, "amount": operation.number, "currency": "USD" });
        let mut request = Request::post("/payments")
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", operation.user))
            .header("content-type", "application/json")
            .header("idempotency-key", key);
        if !asked.delay.is_zero() {
            request = request.header("x-demo-delay-ms", asked.delay.as_millis().to_string());
        }
        if let Some(fault) = asked.fault {
            request = request.header("x-demo-fail", fault);
        }
        if asked.oversize {
            request = request.header("x-demo-body-bytes", OVERSIZE.to_string());
        }
        let request = request.body(Full::new(Bytes::from(body.to_string())));
        Prepared {
            server,
            asked,
            connection: self.connections.remove(&server),
            request: request.expect("a method, a path and headers of ASCII"),
            patience: self.patience(),
        }
    }

    /// What the handler is asked to do wrong; nothing once it is calm.
    fn asked(&mut self) -> Asked {
        if self.phase() == Phase::Calm {
            return Asked::default();
        }
        let rng = &mut self.rng;
        let lease = u64::try_from(SHORT_LEASE.as_millis()).expect("a lease is short");
        let delay = match rng.u32(..100) {
            0..60 => 0,
            60..80 => rng.u64(1..100),
            80..90 => rng.u64(100..500),
            // Around the lease's end, and far beyond it.
            90..97 => rng.u64(lease * 8 / 10..lease * 13 / 10),
            _ => rng.u64(lease * 2..lease * 3),
        };
        let crashes = self.world.mode.loses_servers();
        let fault = match rng.u32(..1000) {
            0..30 => Some("before-effect-503"),
            30..38 => Some("panic-before"),
            38..46 => Some("panic-after"),
            46..54 => Some("after-effect-500"),
            54..57 if crashes => Some("crash-before-effect"),
            57..60 if crashes => Some("crash-in-transaction"),
            60..63 if crashes => Some("crash-after-effect"),
            _ => None,
        };
        Asked {
            delay: Duration::from_millis(delay),
            fault,
            oversize: rng.f64() < OVERSIZE_SHARE,
        }
    }

    /// How long it waits for an answer. Many give up while the handler is running.
    fn patience(&mut self) -> Duration {
        if self.phase() == Phase::Calm {
            return PATIENCE;
        }
        Duration::from_millis(match self.rng.u32(..100) {
            0..10 => self.rng.u64(5..100),
            10..35 => self.rng.u64(100..600),
            _ => 4_000,
        })
    }

    /// Waits before the next attempt: as long as it was told to, or not quite.
    async fn pause(&mut self, operation: &Operation) {
        let mut told = operation.attempts.iter().rev().map(|attempt| &attempt.told);
        let pause = match told.next() {
            Some(told) if told.end().is_some() => return,
            Some(Told::InFlight { retry_after }) if self.rng.bool() => *retry_after,
            Some(Told::Nothing { .. }) => {
                // The longer nobody answers, the less often it asks.
                let unheard = told.take_while(|told| matches!(told, Told::Nothing { .. }));
                let unheard = u32::try_from(unheard.take(4).count()).expect("no more than 4");
                Duration::from_millis(self.rng.u64(20..100)) * 2_u32.pow(unheard)
            }
            _ => Duration::from_millis(self.rng.u64(20..200)),
        };
        sleep(pause).await;
    }
}

/// A request that is about to be sent.
struct Prepared {
    server: usize,
    asked: Asked,
    connection: Option<Connection>,
    request: Request<Full<Bytes>>,
    patience: Duration,
}

/// What came of it, and the connection if it can be used again.
struct Sent(Option<Connection>, Attempt);

impl Prepared {
    async fn send(self, world: &World) -> Sent {
        let sent = world.started.elapsed();
        let address = world.fleet.address(self.server);
        let (connection, answer) =
            exchange(self.connection, address, self.request, self.patience).await;
        let attempt = Attempt {
            sent,
            took: world.started.elapsed().saturating_sub(sent),
            server: self.server,
            asked: self.asked,
            told: match answer {
                Ok(answer) => answer.told(),
                Err(reason) => Told::Nothing { reason },
            },
        };
        Sent(connection, attempt)
    }
}
