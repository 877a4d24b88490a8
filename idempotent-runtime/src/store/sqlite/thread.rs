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

use tokio::{
    runtime,
    sync::{
        Notify,
        mpsc::{UnboundedSender, unbounded_channel},
        oneshot,
    },
    time::timeout,
};

use super::{
    bells::Bells,
    connect::Connector,
    patience::Patience,
    reader::Reader,
    statements::Statements,
    verb::{Order, Question},
    writer::Writer,
};
use crate::store::StoreError;

/// A pause between attempts to get the write lock. Beside it SQLite has waited by itself.
pub(super) const LOCK_PAUSE: Duration = Duration::from_millis(1);

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
pub(super) struct Traffic {
    asking: AtomicUsize,
    /// Rings when some have been answered.
    round: Notify,
}

impl Traffic {
    pub(super) fn answered(&self, questions: usize) {
        self.asking.fetch_sub(questions, Ordering::Relaxed);
        self.round.notify_waiters();
    }

    /// Lets claims through that were asked for already: the transaction that begins without them
    /// costs them another one. Nobody else is waited for.
    pub(super) async fn settle_down(&self) {
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
