//! The connection that writes: it carries out whatever is waiting in one transaction, and answers
//! when that is committed.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use sqlx::{Connection, SqliteConnection, sqlite::SqliteArguments};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    task::yield_now,
    time::{Instant, sleep},
};

use super::{
    bells::Bells,
    connect::Line,
    failure::Failure,
    patience::Patience,
    rules::Row,
    statements::{MAX_ROWS, Seen, Statements},
    thread::{LOCK_PAUSE, Traffic},
    verb::{Image, Order, Verb},
};
use crate::{core::record::RecordId, store::StoreError};

/// How many bytes of responses a transaction takes, at least one response.
const MAX_BATCH_BYTES: usize = 8 << 20;

pub(super) struct Writer {
    pub(super) line: Line,
    pub(super) statements: Arc<Statements>,
    pub(super) orders: UnboundedReceiver<Order>,
    /// Orders that were taken from the channel and not begun.
    pub(super) waiting: VecDeque<Order>,
    pub(super) bells: Arc<Bells>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) patience: Patience,
    /// How long those who do not wait any more are worth waiting for.
    pub(super) limit: Duration,
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
    pub(super) async fn run(mut self) {
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
        // A claim that was given up meanwhile may have been released already, in this very batch.
        batch.retain(|verb| !verb.is_moot());
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
