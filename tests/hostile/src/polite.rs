//! A client like any other, while others are not.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::{
    Failure,
    http::{Answer, Connection, post},
};

/// How often it has an operation.
const PACE: Duration = Duration::from_millis(10);
const USER: &str = "polite";

/// A polite client in a thread of its own, so that it does not wait for the rude ones.
pub(crate) struct Polite {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Experience, String>>,
}

/// How it was served.
#[derive(Debug, Default)]
pub(crate) struct Experience {
    /// How long each request took, the shortest first.
    latencies: Vec<Duration>,
    /// Operations that were done.
    pub(crate) done: u64,
    /// Operations that were refused because the store had no room.
    pub(crate) refused: u64,
}

impl Polite {
    /// Starts it. When this returns, its first operation is done.
    pub(crate) async fn start(address: SocketAddr) -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (started, start) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            runtime.block_on(operate(address, started, &stopped))
        });
        let polite = Self { stop, thread };
        match start.await {
            Ok(()) => Ok(polite),
            Err(_) => Err(polite.stop().err().unwrap_or_else(|| "it ended".into())),
        }
    }

    /// How it was served, or what it was told that nobody should be.
    pub(crate) fn stop(self) -> Result<Experience, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        let experience = ended.map_err(|_| "the polite client panicked")?;
        Ok(experience.map_err(|what| format!("the polite client {what}"))?)
    }
}

impl Experience {
    /// The latency that this share of the requests stayed under.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss
        )] // An index into a short list.
        let index = (last as f64 * share).round() as usize;
        self.latencies.get(index).copied().unwrap_or_default()
    }

    pub(crate) fn requests(&self) -> usize {
        self.latencies.len()
    }
}

/// An operation, the same once more, and the very first once more; again and again.
async fn operate(
    address: SocketAddr,
    begun: oneshot::Sender<()>,
    stop: &AtomicBool,
) -> Result<Experience, String> {
    let mut client = Client {
        address,
        connection: None,
        experience: Experience::default(),
    };
    let very_first = client.ask(0).await?;
    check(0, is_done(0, &very_first), &very_first)?;
    client.experience.done += 1;
    let _ = begun.send(());
    let mut pace = tokio::time::interval(PACE);
    let mut operation = 0;
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        operation += 1;
        let first = client.ask(operation).await?;
        if first.status == 503 {
            let is_full = first.code.as_deref() == Some("store-full");
            check(operation, is_full && first.retry_after, &first)?;
            client.experience.refused += 1;
        } else {
            check(operation, is_done(operation, &first), &first)?;
            client.experience.done += 1;
            let again = client.ask(operation).await?;
            check(
                operation,
                again.is_replay && again.body == first.body,
                &again,
            )?;
        }
        let old = client.ask(0).await?;
        check(0, old.is_replay && old.body == very_first.body, &old)?;
    }
    client.experience.latencies.sort_unstable();
    Ok(client.experience)
}

/// Whether it is the operation's own response. It may be a replay: a request whose connection broke
/// off was sent again.
fn is_done(operation: usize, answer: &Answer) -> bool {
    answer.status == 201 && answer.body.starts_with(format!("{operation} ").as_bytes())
}

fn check(operation: usize, is_right: bool, answer: &Answer) -> Result<(), String> {
    let Answer {
        status,
        is_replay,
        code,
        body,
        ..
    } = answer;
    let start = body[..body.len().min(30)].escape_ascii();
    let told = format!(
        "was told of operation {operation}: {status} (replay: {is_replay}, code: {code:?}) {start}"
    );
    is_right.then_some(()).ok_or(told)
}

struct Client {
    address: SocketAddr,
    connection: Option<Connection>,
    experience: Experience,
}

impl Client {
    /// Sends a request on the connection that there is, or on another once that was closed.
    async fn ask(&mut self, operation: usize) -> Result<Answer, String> {
        let request = post("/pay", USER, &format!("polite-{operation}"), operation);
        let started = Instant::now();
        let asked = match self.connection.take() {
            Some(mut connection) => connection
                .ask(&request)
                .await
                .map(|told| (connection, told)),
            None => Err(std::io::ErrorKind::NotConnected.into()),
        };
        let (connection, answer) = if let Ok(both) = asked {
            both
        } else {
            let anew = async {
                let mut connection = Connection::open(self.address).await?;
                let answer = connection.ask(&request).await?;
                Ok::<_, std::io::Error>((connection, answer))
            };
            let anew = anew.await;
            anew.map_err(|error| format!("had no answer to operation {operation}: {error}"))?
        };
        self.connection = Some(connection);
        self.experience.latencies.push(started.elapsed());
        Ok(answer)
    }
}
