//! The store's thread: two connections, one that reads and one that writes.
//!
//! The thread has a runtime of its own, so that the store works for callers of any runtime and
//! outlives the one that opened it. It ends when the last handle is dropped and everything that
//! was asked has been answered.
//!
//! Both connections take whatever is waiting and do it in one go. While one transaction is on its
//! way to the disk, the next one's verbs gather; nobody waits for a timer.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use sqlx::{Connection, SqliteConnection, sqlite::SqliteArguments};
use tokio::{
    runtime,
    sync::{
        Notify,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    task::yield_now,
    time::{Instant, sleep, timeout},
};

use super::{
    bells::Bells,
    connect::{Connector, Line},
    failure::Failure,
    patience::Patience,
    rules::Row,
    statements::{MAX_ROWS, Seen, Statements},
    verb::{Image, Order, Question, Verb},
};
use crate::{core::record::RecordId, store::StoreError};

/// How many bytes of responses a transaction takes, at least one response.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// A pause between attempts to get the write lock. Beside it SQLite has waited by itself.
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// Where to ask. What is asked of a thread that has ended is dropped, and so its answer.
pub(super) struct Desk {
    questions: UnboundedSender<Question>,
    orders: UnboundedSender<Order>,
    traffic: Arc<Traffic>,
}

impl Desk {
    pub(super) fn ask(&self, question: Question) {
        self.traffic.asking.fetch_add(1, Ordering::Relaxed);
        let _ = self.questions.send(question);
    }

    pub(super) fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }
}

/// Questions that may become orders.
#[derive(Default)]
struct Traffic {
    asking: AtomicUsize,
    /// Rings when some have been answered.
    round: Notify,
}

impl Traffic {
    fn answered(&self, questions: usize) {
        self.asking.fetch_sub(questions, Ordering::Relaxed);
        self.round.notify_waiters();
    }

    /// Lets claims through that were asked for already: the transaction that begins without them
    /// costs them another one. Nobody else is waited for.
    async fn settle_down(&self) {
        for _ in 0..MAX_ROUNDS {
            let round = self.round.notified();
            if self.asking.load(Ordering::Relaxed) == 0 {
                return;
            }
            let _ = timeout(LOCK_PAUSE, round).await; // The disk may be slow to read, too.
        }
    }
}

/// How many rounds of the reader a transaction that begins waits for, at most.
const MAX_ROUNDS: usize = 3;

/// Starts the thread. Resolves when both connections are open.
pub(super) async fn start(
    connector: Connector,
    statements: Arc<Statements>,
    bells: Arc<Bells>,
) -> Result<Desk, StoreError> {
    let (opened, opening) = oneshot::channel();
    let (question_sender, questions) = unbounded_channel();
    let (order_sender, orders) = unbounded_channel();
    let traffic = Arc::new(Traffic::default());
    let desk = Desk {
        traffic: Arc::clone(&traffic),
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
                    traffic: Arc::clone(&traffic),
                };
                let writer = Writer {
                    line: write,
                    statements,
                    orders,
                    waiting: VecDeque::new(),
                    bells,
                    traffic,
                    patience: Patience::default(),
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
    traffic: Arc<Traffic>,
}

impl Reader {
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(MAX_ROWS);
        while self.questions.recv_many(&mut batch, MAX_ROWS).await > 0 {
            let asked = batch.len();
            batch.retain(|question| !question.is_given_up());
            if self.answer(&mut batch).await.is_err() {
                // One of them may be about a damaged page: the others are not to suffer.
                for question in std::mem::take(&mut batch) {
                    let mut alone = vec![question];
                    if let Err(failure) = self.answer(&mut alone).await {
                        for question in alone {
                            question.fail(&failure);
                        }
                    }
                }
            }
            self.traffic.answered(asked);
        }
        self.line.close().await;
    }

    /// Answers all of them, or leaves all of them.
    async fn answer(&mut self, batch: &mut Vec<Question>) -> Result<(), Failure> {
        let seen = self.look(batch).await;
        let seen = self.line.checked(seen)?;
        for question in batch.drain(..) {
            if let Some(order) = question.answer(&seen) {
                // The writer is there for as long as this sender is.
                let _ = self.orders.send(order);
            }
        }
        Ok(())
    }

    async fn look(&mut self, batch: &[Question]) -> Result<Seen, Failure> {
        let connection = self.line.get().await?;
        if batch.iter().any(|it| matches!(it, Question::Ping(_))) {
            self.statements.ping(connection).await?;
        }
        let mut ids: Vec<_> = batch.iter().filter_map(Question::id).collect();
        ids.sort_unstable();
        ids.dedup();
        self.statements.load(connection, &ids).await
    }
}

struct Writer {
    line: Line,
    statements: Arc<Statements>,
    orders: UnboundedReceiver<Order>,
    /// Orders that were taken from the channel and not begun.
    waiting: VecDeque<Order>,
    bells: Arc<Bells>,
    traffic: Arc<Traffic>,
    patience: Patience,
    /// How long those who do not wait any more are worth waiting for.
    limit: Duration,
}

/// What became of a transaction that failed.
enum Broken {
    /// Nothing is committed.
    Before(Failure),
    /// Nobody knows whether it is.
    Unknown(Failure),
}

impl Broken {
    fn failure(&self) -> &Failure {
        match self {
            Self::Before(failure) | Self::Unknown(failure) => failure,
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
        match self.transaction(&mut batch, MAX_ROWS).await {
            Ok(()) => self.settle(batch),
            Err(Broken::Before(_)) if batch.len() > 1 => {
                // Whoever is at fault, or finds no room, is not to fail the others.
                for verb in batch {
                    let mut alone = vec![verb];
                    match self.transaction(&mut alone, 1).await {
                        Ok(()) => self.settle(alone),
                        Err(broken) => fail(alone, broken.failure()),
                    }
                }
            }
            Err(broken) => fail(batch, broken.failure()),
        }
    }

    /// Carries out the batch and what is waiting beside it. Their answers are kept back.
    async fn transaction(&mut self, batch: &mut Vec<Verb>, max_verbs: usize) -> Result<(), Broken> {
        let Some(seen) = self.begin(batch, max_verbs).await.map_err(Broken::Before)? else {
            return Ok(());
        };
        // Owners first: where a lease ended while nobody could write, the owner who renews it is
        // not overtaken by the one who waits for that.
        batch.sort_by_key(Verb::is_claim);
        let mut image = Image::new(seen);
        let verbs = batch.len();
        for verb in batch {
            verb.decide(&mut image);
        }
        let (put, removed) = image.changes();
        let start = Instant::now();
        let written = self.write(&put, &removed).await;
        if !put.is_empty() || !removed.is_empty() {
            let waiting = self.waiting.len() + self.orders.len();
            self.patience.committed(verbs, waiting, start.elapsed());
        }
        self.unless_broken(written).await
    }

    /// Begins a transaction that holds the write lock and looks at the rows it is about, unless
    /// nobody is left in the batch who wants it.
    ///
    /// Waits for as long as somebody does: every caller has a time limit. SQLite's own way of
    /// waiting sleeps for up to 100 ms at a time, in which the lock may be free.
    async fn begin(
        &mut self,
        batch: &mut Vec<Verb>,
        max_verbs: usize,
    ) -> Result<Option<Seen>, Failure> {
        let deadline = Instant::now() + self.limit;
        loop {
            batch.retain(|verb| !verb.is_moot());
            let is_late = deadline <= Instant::now();
            if batch.iter().all(|verb| is_late && verb.is_given_up()) {
                batch.clear();
                return Ok(None);
            }
            match self.execute("BEGIN IMMEDIATE").await {
                Ok(()) => break,
                Err(failure) if failure.is_busy() => self.pause().await,
                Err(failure) => return Err(failure),
            }
        }
        if max_verbs > 1 {
            self.traffic.settle_down().await;
            self.gather(batch, max_verbs);
            self.wait_for_more(batch, max_verbs).await;
        }
        let mut ids: Vec<_> = batch.iter().map(Verb::id).collect();
        ids.sort_unstable();
        ids.dedup();
        let seen = match self.line.get().await {
            Ok(connection) => self.statements.load(connection, &ids).await,
            Err(failure) => Err(failure),
        };
        if seen.is_err() {
            self.roll_back().await;
        }
        seen.map(Some)
    }

    /// Lets those who were just answered come back, where that pays.
    async fn wait_for_more(&mut self, batch: &mut Vec<Verb>, max_verbs: usize) {
        let Some((expected, longest)) = self.patience.wait_for() else {
            return;
        };
        let (had, expected) = (batch.len(), expected.min(max_verbs));
        let start = Instant::now();
        while batch.len() < expected && start.elapsed() < longest {
            // There and back to the driver's thread: shorter than a timer can be, and the
            // processor is free for others meanwhile.
            let Ok(connection) = self.line.get().await else {
                return;
            };
            if connection.ping().await.is_err() {
                return; // What follows finds out why.
            }
            yield_now().await; // To the reader, who brings claims.
            self.gather(batch, max_verbs);
        }
        if had < expected {
            self.patience.waited(batch.len() - had, expected - had);
        }
    }

    /// Takes verbs that are waiting, up to the limits of a transaction.
    fn gather(&mut self, batch: &mut Vec<Verb>, max_verbs: usize) {
        let mut bytes: usize = batch.iter().map(Verb::weight).sum();
        while batch.len() < max_verbs && bytes < MAX_BATCH_BYTES {
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

    /// Waits a moment for the write lock.
    async fn pause(&mut self) {
        // What nobody waits for any more does not pile up meanwhile.
        while let Ok(order) = self.orders.try_recv() {
            self.waiting.push_back(order);
        }
        self.waiting.retain(|order| !order.is_moot());
        sleep(LOCK_PAUSE).await;
    }

    async fn write(
        &mut self,
        put: &[(RecordId, &Row)],
        removed: &[RecordId],
    ) -> Result<(), Failure> {
        if !removed.is_empty() {
            let connection = self.line.get().await?;
            self.statements.remove(connection, removed).await?;
        }
        if put.is_empty() {
            return self.execute("COMMIT").await;
        }
        let connection = self.line.get().await?;
        self.statements.save_and_commit(connection, put).await
    }

    /// Passes on that the transaction is committed, or rolls it back.
    async fn unless_broken<T>(&mut self, committed: Result<T, Failure>) -> Result<T, Broken> {
        match committed {
            Ok(done) => Ok(done),
            // A transaction that could be rolled back was not committed, and one without room
            // neither.
            Err(failure) if self.roll_back().await || failure.is_full() => {
                Err(Broken::Before(failure))
            }
            Err(failure) => Err(Broken::Unknown(failure)),
        }
    }

    /// Rolls the transaction back, and says whether there was one.
    async fn roll_back(&mut self) -> bool {
        match self.execute("ROLLBACK").await {
            Ok(()) => true,
            Err(failure) => {
                if !failure.is_no_transaction() {
                    self.line.give_up();
                }
                false
            }
        }
    }

    /// Something that has a transaction to itself.
    async fn alone<T>(
        &mut self,
        is_wanted: impl Fn() -> bool,
        work: impl AsyncFnOnce(&Statements, &mut SqliteConnection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        loop {
            if !is_wanted() {
                return Err(StoreError::unavailable("the caller has given up"));
            }
            match self.execute("BEGIN IMMEDIATE").await {
                Ok(()) => break,
                Err(failure) if failure.is_busy() => self.pause().await,
                Err(failure) => return Err(failure.failing()),
            }
        }
        let statements = Arc::clone(&self.statements);
        let committed = async {
            let done = work(&statements, self.line.get().await?).await?;
            self.execute("COMMIT").await?;
            Ok(done)
        };
        let committed = committed.await;
        let ended = self.unless_broken(committed).await;
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
