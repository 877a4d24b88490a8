//! The servers: each is started again as soon as it ends.

use std::{
    fs::OpenOptions,
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, Weak},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};

use crate::{client::World, programs::Programs, proxy::Proxy, tally::Count};

/// How long a server may take to finish what it does when it is asked to end.
const GRACE: Duration = Duration::from_secs(40);

/// Servers on one store, each behind a wire to its clients and, where the store has a server, with
/// a wire to that.
#[derive(Debug)]
pub(crate) struct Fleet(Vec<Server>);

#[derive(Debug)]
struct Server {
    front: Proxy,
    back: Option<Proxy>,
    orders: mpsc::UnboundedSender<Order>,
    serving: watch::Receiver<bool>,
}

/// What is done to a server's process.
#[derive(Debug)]
pub(crate) enum Order {
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Continue,
    /// SIGTERM. Tells whether it came to its end by itself.
    Finish(oneshot::Sender<bool>),
}

/// How servers are started.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) programs: Arc<Programs>,
    /// Of all servers.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// `STORE`; `{}` stands for the address of a server's own wire to it.
    pub(crate) store: String,
    /// Where the store's server listens.
    pub(crate) store_address: Option<SocketAddr>,
    pub(crate) logs: Option<PathBuf>,
}

/// What a server's process needs to be started, and who is told of it.
pub(crate) struct Keeper {
    index: usize,
    setup: Arc<Setup>,
    store: String,
    front: Proxy,
    orders: mpsc::UnboundedReceiver<Order>,
    serving: watch::Sender<bool>,
}

impl Fleet {
    /// Servers that are started once their keepers run.
    pub(crate) async fn new(
        servers: usize,
        setup: Setup,
    ) -> Result<(Self, Vec<Keeper>), crate::Failure> {
        let setup = Arc::new(setup);
        let mut fleet = Vec::new();
        let mut keepers = Vec::new();
        for index in 0..servers {
            let front = Proxy::start(None).await?;
            let back = match setup.store_address {
                Some(address) => Some(Proxy::start(Some(address)).await?),
                None => None,
            };
            let store = match &back {
                Some(back) => setup.store.replace("{}", &back.address().to_string()),
                None => setup.store.clone(),
            };
            let (order, orders) = mpsc::unbounded_channel();
            let (serving, is_serving) = watch::channel(false);
            keepers.push(Keeper {
                index,
                setup: Arc::clone(&setup),
                store,
                front: front.clone(),
                orders,
                serving,
            });
            fleet.push(Server {
                front,
                back,
                orders: order,
                serving: is_serving,
            });
        }
        Ok((Self(fleet), keepers))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Where clients reach it.
    pub(crate) fn address(&self, server: usize) -> SocketAddr {
        self.0[server].front.address()
    }

    pub(crate) fn is_serving(&self, server: usize) -> bool {
        *self.0[server].serving.borrow()
    }

    /// The wire between a server and its clients.
    pub(crate) fn front(&self, server: usize) -> &Proxy {
        &self.0[server].front
    }

    /// The wire between a server and the store.
    pub(crate) fn back(&self, server: usize) -> Option<&Proxy> {
        self.0[server].back.as_ref()
    }

    pub(crate) fn order(&self, server: usize, order: Order) {
        // Its keeper ends with the fleet.
        let _ = self.0[server].orders.send(order);
    }

    /// Waits until all servers serve; `false` where one does not.
    pub(crate) async fn all_serve(&self, patience: Duration) -> bool {
        let all = async {
            for server in &self.0 {
                let mut serving = server.serving.clone();
                if serving.wait_for(|serving| *serving).await.is_err() {
                    return false;
                }
            }
            true
        };
        timeout(patience, all).await.unwrap_or(false)
    }

    /// Lets all servers finish what they do, and end; others take their place. `false` where one
    /// did not end by itself.
    pub(crate) async fn replace_all(&self) -> bool {
        let mut finished = true;
        let ends: Vec<_> = (0..self.len())
            .map(|server| {
                let (told, end) = oneshot::channel();
                self.order(server, Order::Finish(told));
                end
            })
            .collect();
        for end in ends {
            finished &= end.await.unwrap_or(false);
        }
        finished
    }
}

impl Keeper {
    /// Starts the server, again and again, until the fleet is gone.
    pub(crate) async fn keep(mut self, world: Weak<World>) {
        for turn in self.index.. {
            let Ok(mut child) = self.start(turn) else {
                eprintln!("torture: server {} cannot be started", self.index);
                return;
            };
            let Some(end) = self.watch(&mut child).await else {
                return;
            };
            let was_serving = self.serving.send_replace(false);
            self.front.lead_to(None);
            let Some(world) = world.upgrade() else { return };
            match end {
                End::Killed => world.tally.add(Count::Kills),
                End::Finished => {}
                End::ByItself(status) if is_crash(status) && world.mode.loses_servers() => {
                    world.tally.add(Count::Crashes);
                }
                // One that cannot reach the store does not start.
                End::ByItself(_) if !was_serving => {
                    drop(world);
                    sleep(Duration::from_millis(100)).await;
                }
                End::ByItself(status) => {
                    eprintln!("torture: server {} ended by itself: {status}", self.index);
                    world.tally.add(Count::Ended);
                }
            }
        }
    }

    fn start(&self, turn: usize) -> std::io::Result<Child> {
        let stderr = match &self.setup.logs {
            None => Stdio::null(),
            Some(folder) => {
                let path = folder.join(format!("server-{}.log", self.index));
                let file = OpenOptions::new().create(true).append(true).open(path)?;
                file.into()
            }
        };
        let mut command = Command::new(self.setup.programs.application(turn));
        command
            .env("STORE", &self.store)
            .env("LISTEN", "127.0.0.1:0")
            .envs(
                self.setup
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true);
        if self.setup.logs.is_none() {
            command.env("RUST_LOG", "off");
        }
        if self.index % 2 == 1 {
            command.env("NEAR_CACHE_BYTES", "4MiB");
        }
        command.spawn()
    }

    /// Until it has ended; `None` when the fleet is gone.
    async fn watch(&mut self, child: &mut Child) -> Option<End> {
        let stdout = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let mut killed = false;
        loop {
            let is_starting = !*self.serving.borrow();
            tokio::select! {
                status = child.wait() => {
                    let status = status.ok()?;
                    return Some(End::of(status, killed));
                }
                order = self.orders.recv() => match order? {
                    Order::Kill => {
                        killed = true;
                        let _ = child.start_kill();
                    }
                    Order::Stop => signal(child, Signal::STOP),
                    Order::Continue => signal(child, Signal::CONT),
                    Order::Finish(told) => {
                        signal(child, Signal::TERM);
                        let finished = timeout(GRACE, child.wait()).await;
                        // Before anybody is told, who would take it for the next one.
                        self.serving.send_replace(false);
                        let _ = told.send(matches!(finished, Ok(Ok(status)) if status.success()));
                        let _ = child.kill().await;
                        return Some(End::Finished);
                    }
                },
                line = lines.next_line(), if is_starting => {
                    let Ok(Some(line)) = line else {
                        // It is about to end.
                        let status = child.wait().await.ok()?;
                        return Some(End::of(status, killed));
                    };
                    if let Some(address) = address(&line) {
                        self.front.lead_to(Some(address));
                        self.serving.send_replace(true);
                    }
                }
            }
        }
    }
}

/// How a process ended.
enum End {
    Killed,
    Finished,
    ByItself(ExitStatus),
}

impl End {
    /// One that crashed before it could be killed was not killed.
    fn of(status: ExitStatus, was_to_be_killed: bool) -> Self {
        if was_to_be_killed && status.signal() == Some(Signal::KILL.as_raw()) {
            Self::Killed
        } else {
            Self::ByItself(status)
        }
    }
}

/// Only `X-Demo-Fail: crash-…` should make a server end so.
fn is_crash(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::ABORT.as_raw())
}

fn address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(" listens on http://")?;
    rest.split(' ').next()?.parse().ok()
}

fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid.and_then(Pid::from_raw) {
        // It is there until it has been waited for.
        let _ = kill_process(pid, signal);
    }
}
