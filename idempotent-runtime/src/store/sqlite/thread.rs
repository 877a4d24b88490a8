//! The store's thread: two connections, one that reads and one that writes.
//!
//! The thread has a runtime of its own, so that the store works for callers of any runtime and
//! outlives the one that opened it. It ends when the last handle is dropped and everything that
//! was asked has been answered.
//!
//! Both connections take whatever is waiting and do it in one go. While one transaction is on its
//! way to the disk, the next one's verbs gather; nobody waits for a timer.

use std::{collections::VecDeque, sync::Arc, thread, time::Duration};

use sqlx::{SqliteConnection, sqlite::SqliteArguments};
use tokio::{
    runtime,
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    time::{Instant, sleep},
};

use super::{
    bells::Bells,
    connect::{Connector, Line},
    failure::Failure,
    statements::{MAX_ROWS, Statements},
    verb::{Image, Order, Question, Verb},
};
use crate::store::StoreError;

/// How many bytes of responses a transaction takes, at least one response.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// A pause between attempts to get the write lock. Beside it SQLite has waited by itself.
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// Where to ask. Both ends of the thread are gone when it has ended.
pub(super) struct Desk {
    pub(super) questions: UnboundedSender<Question>,
    pub(super) orders: UnboundedSender<Order>,
}

/// Starts the thread. Resolves when both connections are open.
pub(super) async fn start(
    connector: Connector,
    statements: Arc<Statements>,
    bells: Arc<Bells>,
) -> Result<Desk, StoreError> {
    let (opened, opening) = oneshot::channel();
    let (question_sender, questions) = unbounded_channel();
    let (order_sender, orders) = unbounded_channel();
    let desk = Desk {
        questions: question_sender,
        orders: order_sender.clone(),
    };
    thread::Builder::new() // Not joined: the last handle must be droppable anywhere.
        .name("idempotent-sqlite".to_owned())
        .spawn(move || {
            let limit = connector.limit();
            let runtime = match runtime::Builder::new_current_thread().enable_time().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(opened.send(Err(StoreError::unavailable(error)))),
            };
            runtime.block_on(async {
                let (write, read) = match connector.open().await {
                    Ok(lines) => lines,
                    Err(error) => return drop(opened.send(Err(error))),
                };
                let reader = Reader {
                    line: read,
                    statements: Arc::clone(&statements),
                    questions,
                    orders: order_sender,
                };
                let writer = Writer {
                    line: write,
                    statements,
                    orders,
                    waiting: VecDeque::new(),
                    bells,
                    limit,
                };
                let reading = tokio::spawn(reader.run());
                let _ = opened.send(Ok(())); // Nobody there: the handles are gone, and we end.
                writer.run().await;
                let _ = reading.await;
            });
        })
        .map_err(StoreError::unavailable)?;
    opening
        .await
        .map_err(|_| StoreError::unavailable("the store's thread ended while it was starting"))??;
    Ok(desk)
}

struct Reader {
    line: Line,
    statements: Arc<Statements>,
    questions: UnboundedReceiver<Question>,
    orders: UnboundedSender<Order>,
}

impl Reader {
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(MAX_ROWS);
        while self.questions.recv_many(&mut batch, MAX_ROWS).await > 0 {
            batch.retain(|question| !question.is_given_up());
            if let Err(failure) = self.answer(&mut batch).await {
                // One of them may be about a damaged page: the others are not to suffer.
                for question in std::mem::take(&mut batch) {
                    let mut alone = vec![question];
                    if self.answer(&mut alone).await.is_err() {
                        alone.into_iter().for_each(|it| it.fail(&failure));
                    }
                }
            }
        }
        self.line.close().await;
    }

    /// Answers all of them, or leaves all of them.
    async fn answer(&mut self, batch: &mut Vec<Question>) -> Result<(), Failure> {
        let connection = self.line.get().await?;
        if batch
            .iter()
            .any(|question| matches!(question, Question::Ping(_)))
        {
            self.statements.ping(connection).await?;
        }
        let mut ids: Vec<_> = batch.iter().filter_map(Question::id).collect();
        ids.sort_unstable();
        ids.dedup();
        let seen = self.statements.load(connection, &ids).await;
        let seen = self.line.checked(seen)?;
        for question in batch.drain(..) {
            if let Some(order) = question.answer(&seen) {
                // The writer is there for as long as this sender is.
                let _ = self.orders.send(order);
            }
        }
        Ok(())
    }
}

struct Writer {
    line: Line,
    statements: Arc<Statements>,
    orders: UnboundedReceiver<Order>,
    /// Orders that were taken from the channel and not begun.
    waiting: VecDeque<Order>,
    bells: Arc<Bells>,
    /// How long those who do not wait any more are worth waiting for.
    limit: Duration,
}

/// How far a transaction came.
enum Broken {
    /// Nothing is committed.
    Before(Failure),
    /// Nobody knows.
    AtCommit(Failure),
}

impl Broken {
    fn failure(&self) -> &Failure {
        match self {
            Self::Before(failure) | Self::AtCommit(failure) => failure,
        }
    }
}

impl Writer {
    async fn run(mut self) {
        while let Some(order) = self.next().await {
            match order {
                Order::Verb(verb) => self.verbs(verb).await,
                Order::Sweep(limit, answer) => {
                    let work = async |statements: &Statements, connection: &mut _| {
                        statements.sweep(connection, limit).await
                    };
                    let swept = self.alone(|| !answer.is_closed(), work).await;
                    let _ = answer.send(swept);
                }
                Order::Migrate(answer) => {
                    let work = async |statements: &Statements, connection: &mut _| {
                        statements.migrate(connection).await
                    };
                    let migrated = self.alone(|| !answer.is_closed(), work).await;
                    let _ = answer.send(migrated);
                }
            }
        }
        self.line.close().await;
    }

    async fn next(&mut self) -> Option<Order> {
        match self.waiting.pop_front() {
            Some(order) => Some(order),
            None => self.orders.recv().await,
        }
    }

    /// The verbs that are waiting, in one transaction.
    async fn verbs(&mut self, first: Verb) {
        let mut batch = vec![first];
        self.gather(&mut batch);
        if !self.lock(&mut batch).await {
            return;
        }
        // Those who came meanwhile.
        self.gather(&mut batch);
        // Owners first: where a lease ended while nobody could write, the owner who renews it is
        // not overtaken by the one who waits for that.
        batch.sort_by_key(Verb::is_claim);
        match self.write(&mut batch).await {
            Ok(()) => self.settle(batch),
            Err(Broken::Before(_)) if batch.len() > 1 => {
                // Whoever is at fault, or finds no room, is not to fail the others.
                for verb in batch {
                    let mut batch = vec![verb];
                    if self.lock(&mut batch).await {
                        match self.write(&mut batch).await {
                            Ok(()) => self.settle(batch),
                            Err(broken) => fail(batch, broken.failure()),
                        }
                    }
                }
            }
            Err(broken) => fail(batch, broken.failure()),
        }
    }

    /// Takes verbs that are waiting, up to the limits of a transaction.
    fn gather(&mut self, batch: &mut Vec<Verb>) {
        let mut bytes: usize = batch.iter().map(Verb::weight).sum();
        while batch.len() < MAX_ROWS && bytes < MAX_BATCH_BYTES {
            let next = self.waiting.pop_front();
            match next.or_else(|| self.orders.try_recv().ok()) {
                Some(Order::Verb(verb)) => {
                    bytes += verb.weight();
                    batch.push(verb);
                }
                Some(other) => return self.waiting.push_front(other),
                None => return,
            }
        }
    }

    /// Takes the write lock for those of the batch who still wait. Without the lock nobody is
    /// left.
    async fn lock(&mut self, batch: &mut Vec<Verb>) -> bool {
        let deadline = Instant::now() + self.limit;
        let is_wanted = || {
            batch.retain(|verb| !verb.is_moot());
            batch.iter().any(|verb| !verb.is_given_up())
                || !batch.is_empty() && Instant::now() < deadline
        };
        match self.begin(is_wanted).await {
            Ok(is_locked) => is_locked,
            Err(failure) => {
                fail(std::mem::take(batch), &failure);
                false
            }
        }
    }

    /// Begins a transaction that holds the write lock, unless nobody wants it any more.
    ///
    /// Waits for as long as somebody does: every caller has a time limit. SQLite's own way of
    /// waiting sleeps for up to 100 ms at a time, in which the lock may be free.
    async fn begin(&mut self, mut is_wanted: impl FnMut() -> bool) -> Result<bool, Failure> {
        while is_wanted() {
            match self.execute("BEGIN IMMEDIATE").await {
                Ok(()) => return Ok(true),
                Err(failure) if failure.is_busy() => {
                    // What nobody waits for any more does not pile up either.
                    while let Ok(order) = self.orders.try_recv() {
                        self.waiting.push_back(order);
                    }
                    self.waiting.retain(|order| !order.is_moot());
                    sleep(LOCK_PAUSE).await;
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(false)
    }

    /// Carries the verbs out and commits. Their answers are kept back.
    async fn write(&mut self, batch: &mut [Verb]) -> Result<(), Broken> {
        let written = self.carry_out(batch).await;
        self.end(written).await
    }

    async fn carry_out(&mut self, batch: &mut [Verb]) -> Result<(), Failure> {
        let connection = self.line.get().await?;
        let mut ids: Vec<_> = batch.iter().map(Verb::id).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut image = Image::new(self.statements.load(connection, &ids).await?);
        for verb in batch {
            verb.decide(&mut image);
        }
        let (put, removed) = image.changes();
        if !put.is_empty() {
            self.statements.save(connection, &put).await?;
        }
        if !removed.is_empty() {
            self.statements.remove(connection, &removed).await?;
        }
        Ok(())
    }

    /// Ends the transaction as it deserves.
    async fn end<T>(&mut self, written: Result<T, Failure>) -> Result<T, Broken> {
        let broken = match written {
            Ok(done) => match self.execute("COMMIT").await {
                Ok(()) => return Ok(done),
                Err(failure) if failure.is_full() || failure.is_busy() => Broken::Before(failure),
                Err(failure) => Broken::AtCommit(failure),
            },
            Err(failure) => Broken::Before(failure),
        };
        match self.execute("ROLLBACK").await {
            Ok(()) => {}
            Err(failure) if failure.is_no_transaction() => {}
            Err(_) => self.line.give_up(),
        }
        Err(broken)
    }

    /// Something that has a transaction to itself.
    async fn alone<T>(
        &mut self,
        is_wanted: impl FnMut() -> bool,
        work: impl AsyncFnOnce(&Statements, &mut SqliteConnection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let failing = |failure: Failure| failure.failing();
        if !self.begin(is_wanted).await.map_err(failing)? {
            return Err(StoreError::unavailable("the caller has given up"));
        }
        let statements = Arc::clone(&self.statements);
        let done = match self.line.get().await {
            Ok(connection) => work(&statements, connection).await,
            Err(failure) => Err(failure),
        };
        let ended = self.end(done).await;
        ended.map_err(|broken| broken.failure().failing())
    }

    async fn execute(&mut self, sql: &'static str) -> Result<(), Failure> {
        let connection = self.line.get().await?;
        // With (no) arguments, so that the statement stays prepared.
        let query = sqlx::query_with(sql, SqliteArguments::default());
        let done = query.execute(connection).await.map_err(Failure::of(sql));
        self.line.checked(done)?;
        Ok(())
    }

    /// Gives the answers of a transaction that is committed.
    fn settle(&self, batch: Vec<Verb>) {
        for verb in batch {
            if let Some(id) = verb.ended() {
                self.bells.ring(&id);
            }
            verb.settle();
        }
    }
}

fn fail(batch: Vec<Verb>, failure: &Failure) {
    for verb in batch {
        verb.fail(failure);
    }
}
