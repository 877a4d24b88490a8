//! What is done beside the user's pool: leases are renewed, and waited-for claims looked at.
//!
//! It has a thread with a runtime of its own, because a connection is of no use after the runtime
//! that made it, and the runtimes of the callers come and go (the workers of actix-web, tests).
//! Whatever is asked for at the same time is asked for in one statement.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgPool, Row,
    postgres::{PgConnectOptions, PgRow},
};
use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    time::{Instant, timeout, timeout_at},
};

use super::{
    answer::time_left,
    failure::{renewal_failed, store_error, timed_out, unattended},
    listener::listen,
    renewals::{Answer, Renewal, Renewals},
    statement::Statements,
    table::Table,
    watched::{Seen, Waiter, Watched},
};
use crate::{
    core::record::{Claim, RecordId},
    store::StoreError,
};

/// How many claims one statement renews or looks at.
const BATCH: usize = 256;
/// After how long without work a connection is closed.
pub(super) const IDLE: Duration = Duration::from_mins(1);

/// Sent before each statement, in one message and one transaction with it. A stricter level, which
/// may be the database's default, would fail the whole batch for one row that changes meanwhile.
const ISOLATION: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// How connections are made.
pub(super) struct Connecting {
    pub(super) pool: PgPool,
    pub(super) options: Option<PgConnectOptions>,
    pub(super) timeout: Duration,
    pub(super) table: Table,
    pub(super) statements: Arc<Statements>,
}

/// What the thread is asked to do.
pub(super) enum Task {
    Renew(Claim, Answer),
    /// Something is due.
    Look,
    /// Notify this, so that the listener knows that it hears.
    Probe(String),
}

/// The store's thread. It is started when there is something to do and ends with the store.
pub(super) struct Attendant {
    shared: Arc<Shared>,
    tasks: Mutex<Option<UnboundedSender<Task>>>,
}

pub(super) struct Shared {
    pub(super) connecting: Connecting,
    pub(super) watched: Arc<Watched>,
    /// Whether ends that are notified are heard of.
    pub(super) hearing: AtomicBool,
}

impl Attendant {
    pub(super) fn new(connecting: Connecting) -> Self {
        Self {
            shared: Arc::new(Shared {
                connecting,
                watched: Arc::default(),
                hearing: AtomicBool::new(false),
            }),
            tasks: Mutex::new(None),
        }
    }

    /// Whether the claim was the owner's and is renewed.
    pub(super) async fn renew(&self, claim: &Claim) -> Result<bool, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Task::Renew(*claim, answer))?;
        let limit = self.shared.connecting.timeout;
        let answered = timeout(limit, answered)
            .await
            .map_err(|_| timed_out(limit))?;
        answered.map_err(unattended)?
    }

    pub(super) fn watch(&self, id: RecordId) -> Result<Waiter, StoreError> {
        let waiter = self.shared.watched.join(id);
        self.ask(Task::Look)?;
        Ok(waiter)
    }

    fn ask(&self, task: Task) -> Result<(), StoreError> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let task = match &*tasks {
            Some(running) => match running.send(task) {
                Ok(()) => return Ok(()),
                Err(unsent) => unsent.0,
            },
            None => task,
        };
        let (sender, receiver) = unbounded_channel();
        let (shared, weak) = (Arc::clone(&self.shared), sender.downgrade());
        thread::Builder::new()
            .name("idempotency-postgres".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                match runtime {
                    Ok(runtime) => {
                        runtime.spawn(listen(Arc::clone(&shared), weak));
                        runtime.block_on(Worker::new(shared).work(receiver));
                        // Not to wait for a name that is still being resolved.
                        runtime.shutdown_background();
                    }
                    // The channel closes, and whoever asked is told.
                    Err(error) => tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the thread that renews leases could not be started",
                    ),
                }
            })
            .map_err(unattended)?;
        // The receiver is on its way into the thread; if that ends, the next to ask starts another.
        let _ = sender.send(task);
        *tasks = Some(sender);
        Ok(())
    }
}

impl Connecting {
    pub(super) fn options(&self) -> PgConnectOptions {
        // The pool's may have been changed since, such as for a new password.
        let options = self.options.clone();
        options.unwrap_or_else(|| self.pool.connect_options().as_ref().clone())
    }
}

/// Works off tasks, on one connection.
struct Worker {
    shared: Arc<Shared>,
    connection: Option<PgConnection>,
    renewals: Renewals,
}

impl Worker {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            connection: None,
            renewals: Renewals::default(),
        }
    }

    /// Until the store is dropped.
    async fn work(mut self, mut tasks: UnboundedReceiver<Task>) {
        loop {
            let idle_end = Instant::now() + IDLE;
            let dues = [self.shared.watched.next_due(), self.renewals.next_due()];
            let due = dues.into_iter().flatten().min();
            let until = due.unwrap_or(idle_end);
            let mut probes = Vec::new();
            let renewals = &mut self.renewals;
            let mut gather = |task| match task {
                Task::Renew(claim, answer) => renewals.ask(claim, answer),
                Task::Look => {}
                Task::Probe(payload) => probes.push(payload),
            };
            match timeout_at(until, tasks.recv()).await {
                Ok(Some(task)) => gather(task),
                Ok(None) => break,
                Err(_) if due.is_none() => self.connection = None,
                Err(_) => {}
            }
            while let Ok(task) = tasks.try_recv() {
                gather(task);
            }
            let mut renewals = self.renewals.take_due();
            while !renewals.is_empty() {
                let rest = renewals.split_off(renewals.len().min(BATCH));
                self.renew(renewals).await;
                renewals = rest;
            }
            for payload in probes {
                let channel = self.shared.connecting.table.channel();
                let probe = format!("SELECT pg_notify('{channel}', '{payload}')");
                // Not heard, it is sent again.
                let _ = self.ask(probe).await;
            }
            let due = self.shared.watched.due(BATCH);
            if !due.is_empty() {
                self.look(&due).await;
            }
        }
        if let Some(connection) = self.connection {
            let _ = timeout(Duration::from_secs(1), connection.close()).await;
        }
    }

    async fn renew(&mut self, renewals: Vec<Renewal>) {
        let claims: Vec<Claim> = renewals.iter().map(|renewal| renewal.claim).collect();
        let statement = self.shared.connecting.statements.renew(&claims);
        let rows = self.ask(statement).await;
        let mut answers = vec![None; claims.len()];
        for row in rows.iter().flatten() {
            if let (Some(index), Ok(is_owner)) = (number(row), row.try_get::<Option<bool>, _>(1))
                && let Some(answer) = answers.get_mut(index)
            {
                *answer = Some(is_owner);
            }
        }
        for (mut renewal, answer) in renewals.into_iter().zip(answers) {
            match answer {
                Some(Some(is_owner)) => renewal.tell(Ok(is_owner)),
                Some(None) => self.renewals.locked(renewal),
                None => renewal.tell(Err(renewal_failed(rows.as_ref().err()))),
            }
        }
    }

    async fn look(&mut self, ids: &[RecordId]) {
        let statement = self.shared.connecting.statements.watch(ids);
        let rows = match self.ask(statement).await {
            Ok(rows) => rows,
            Err(error) => {
                // They are looked at again in a moment.
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "claims that are waited for could not be looked at",
                );
                return;
            }
        };
        let hearing = self.shared.hearing.load(Ordering::Acquire);
        for row in &rows {
            let seen = match (row.try_get::<Option<i64>, _>(1), row.try_get(2)) {
                (Ok(None), _) => Seen::Ended,
                (Ok(left), Ok(will_notify)) => Seen::Running {
                    left: time_left(left),
                    will_notify,
                },
                _ => continue,
            };
            if let Some(id) = number(row).and_then(|index| ids.get(index)) {
                self.shared.watched.saw(id, &seen, hearing);
            }
        }
    }

    /// Sends a statement that may be repeated.
    async fn ask(&mut self, statement: String) -> Result<Vec<PgRow>, StoreError> {
        let statement = format!("{ISOLATION}; {statement}");
        let limit = self.shared.connecting.timeout;
        let had_connection = self.connection.is_some();
        let answer = timeout(limit, async {
            let first = self.ask_once(statement.clone()).await;
            match first {
                // The connection had broken since it was last used.
                Err(error) if had_connection && error.as_database_error().is_none() => {
                    self.ask_once(statement).await
                }
                // An administrator or a shutdown ended it.
                Err(sqlx::Error::Database(error))
                    if had_connection
                        && error.code().is_some_and(|code| code.starts_with("57P")) =>
                {
                    self.ask_once(statement).await
                }
                first => first,
            }
        });
        let answer = answer.await.map_err(|_| timed_out(limit))?;
        answer.map_err(|error| store_error(error, &self.shared.connecting.table, false))
    }

    async fn ask_once(&mut self, statement: String) -> Result<Vec<PgRow>, sqlx::Error> {
        // Out of its place while it is at work: given up half-way or failed, it is not used again.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => PgConnection::connect_with(&self.shared.connecting.options()).await?,
        };
        let rows = sqlx::raw_sql(AssertSqlSafe(statement))
            .fetch_all(&mut connection)
            .await?;
        self.connection = Some(connection);
        Ok(rows)
    }
}

fn number(row: &PgRow) -> Option<usize> {
    let number: i32 = row.try_get(0).ok()?;
    usize::try_from(number).ok()
}
