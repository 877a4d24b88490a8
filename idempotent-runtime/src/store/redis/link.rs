//! A connection that carries verbs: one, shared by all, made again when it is lost.

use std::{
    future::Future,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use redis::{Cmd, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::{
    runtime::{Builder, Handle},
    sync::Notify,
};

use super::servers::{Connection, Servers};

/// Drives connections on a thread of its own: they must not die with the runtime of whoever
/// happened to need one first, when others still use the store.
pub(super) struct Driver {
    handle: Handle,
    stop: Arc<Notify>,
}

impl Driver {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        thread::Builder::new()
            .name("idempotent-redis".to_owned())
            .spawn(move || runtime.block_on(stopped.notified()))?;
        Ok(Self { handle, stop })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}

/// A way to the servers: one connection at a time, which clones share.
#[derive(Clone)]
pub(super) struct Link {
    driver: Arc<Driver>,
    shared: Arc<Shared>,
}

struct Shared {
    servers: Arc<Servers>,
    limit: Duration,
    state: Mutex<State>,
    /// Held while a connection is made, so that many who miss it make one.
    making: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    live: Option<Connection>,
    /// Tells a connection from the one before it.
    generation: u64,
    /// How many attempts to connect have ended, and how the last one failed.
    attempts: u64,
    failure: Option<RedisError>,
}

impl Link {
    pub(super) fn new(driver: Arc<Driver>, servers: Arc<Servers>, limit: Duration) -> Self {
        let shared = Arc::new(Shared {
            servers,
            limit,
            state: Mutex::default(),
            making: tokio::sync::Mutex::default(),
        });
        Self { driver, shared }
    }

    /// Another way to the same servers, with a connection of its own.
    pub(super) fn beside(&self) -> Self {
        let (driver, shared) = (Arc::clone(&self.driver), &self.shared);
        Self::new(driver, Arc::clone(&shared.servers), shared.limit)
    }

    pub(super) fn driver(&self) -> &Driver {
        &self.driver
    }

    pub(super) fn servers(&self) -> &Arc<Servers> {
        &self.shared.servers
    }

    /// The answer to a command that may be repeated.
    pub(super) async fn one(&self, cmd: &Cmd) -> RedisResult<Value> {
        let mut answers = self
            .repeated(|mut connection| async move { Ok(vec![connection.one(cmd).await?]) })
            .await?;
        let answer = answers.pop().unwrap_or(Value::Nil);
        answer.extract_error()
    }

    /// As [`one`](Self::one), from the master of this slot, where the servers are a cluster.
    pub(super) async fn one_of_slot(&self, cmd: &Cmd, slot: u16) -> RedisResult<Value> {
        let mut answers = self
            .repeated(
                |mut connection| async move { Ok(vec![connection.one_of_slot(cmd, slot).await?]) },
            )
            .await?;
        let answer = answers.pop().unwrap_or(Value::Nil);
        answer.extract_error()
    }

    /// The answers to commands that may be repeated; an error of one is a value in its place.
    pub(super) async fn several(&self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        self.repeated(|mut connection| async move { connection.several(pipeline).await })
            .await
    }

    /// Asks, and asks once more on a new connection when the old one turns out to be lost: as
    /// likely as not it was lost long before.
    async fn repeated<F, A>(&self, ask: F) -> RedisResult<Vec<Value>>
    where
        F: Fn(Connection) -> A,
        A: Future<Output = RedisResult<Vec<Value>>>,
    {
        let (generation, connection) = self.connection().await?;
        let answers = ask(connection).await;
        if !self.is_useless(&answers) {
            return answers;
        }
        self.shared.discard(generation);
        let (generation, connection) = self.connection().await?;
        let answers = ask(connection).await;
        if self.is_useless(&answers) {
            self.shared.discard(generation);
        }
        answers
    }

    async fn connection(&self) -> RedisResult<(u64, Connection)> {
        let attempts = {
            let state = self.shared.state();
            if let Some(live) = &state.live {
                return Ok((state.generation, live.clone()));
            }
            state.attempts
        };
        // On the driver's own thread, also so that it goes on when the caller does not.
        let making = Arc::clone(&self.shared).make(attempts);
        let made = self.driver.handle().spawn(making).await;
        made.unwrap_or_else(|error| Err(io::Error::other(error).into()))
    }

    /// Whether what a connection gave, or did not, says that another one is needed. One to a
    /// cluster is made of many, and mends itself from the nodes that it has found.
    fn is_useless(&self, answers: &RedisResult<Vec<Value>>) -> bool {
        if self.servers().is_cluster() {
            return false;
        }
        match answers {
            // The master is a replica now.
            Ok(answers) => answers.iter().any(|answer| {
                matches!(answer, Value::ServerError(error)
                    if error.kind() == Some(ServerErrorKind::ReadOnly))
            }),
            Err(error) => error.is_unrecoverable_error(),
        }
    }
}

impl Shared {
    /// Makes the connection, unless somebody has since the caller counted so many attempts.
    async fn make(self: Arc<Self>, attempts: u64) -> RedisResult<(u64, Connection)> {
        let _making = self.making.lock().await;
        {
            let state = self.state();
            if let Some(live) = &state.live {
                return Ok((state.generation, live.clone()));
            }
            if state.attempts != attempts
                && let Some(failure) = &state.failure
            {
                return Err(failure.clone());
            }
        }
        let made = tokio::time::timeout(self.limit, self.servers.connect(self.limit))
            .await
            .unwrap_or_else(|elapsed| Err(io::Error::from(elapsed).into()));
        let mut state = self.state();
        state.attempts += 1;
        match made {
            Ok(connection) => {
                state.generation += 1;
                state.failure = None;
                state.live = Some(connection.clone());
                Ok((state.generation, connection))
            }
            Err(error) => {
                state.failure = Some(error.clone());
                Err(error)
            }
        }
    }

    fn discard(&self, generation: u64) {
        let mut state = self.state();
        if state.generation == generation {
            state.live = None;
        }
    }

    /// Nothing that holds it can panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
