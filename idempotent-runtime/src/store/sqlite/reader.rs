//! The connection that reads: it answers whatever needs no write, so that a replay waits for no
//! disk and for no lock.

use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::{
    connect::Line,
    failure::Failure,
    statements::{MAX_ROWS, Seen, Statements},
    thread::Traffic,
    verb::{Order, Question},
};
use crate::store::{Cursor, Listing, Page, StoreError};

pub(super) struct Reader {
    pub(super) line: Line,
    pub(super) statements: Arc<Statements>,
    pub(super) questions: UnboundedReceiver<Question>,
    pub(super) orders: UnboundedSender<Order>,
    pub(super) traffic: Arc<Traffic>,
}

impl Reader {
    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(MAX_ROWS);
        while self.questions.recv_many(&mut batch, MAX_ROWS).await > 0 {
            let asked = batch.len();
            batch.retain(|question| !question.is_given_up());
            let is_listing = |question: &mut Question| matches!(question, Question::List(..));
            let listings: Vec<_> = batch.extract_if(.., is_listing).collect();
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
            for listing in listings {
                if let Question::List(listing, answer) = listing {
                    let page = self.list(&listing).await;
                    let _ = answer.send(page);
                }
            }
            self.traffic.answered(asked);
        }
        self.line.close().await;
    }

    async fn list(&mut self, listing: &Listing) -> Result<Page, StoreError> {
        let after = match listing.after {
            None => None,
            Some(Cursor::Id(id)) => Some(id),
            Some(Cursor::Place(..)) => return Err(StoreError::Unsupported),
        };
        let page = match self.line.get().await {
            Ok(connection) => {
                self.statements
                    .listing
                    .list(connection, listing, after)
                    .await
            }
            Err(failure) => Err(failure),
        };
        self.line.checked(page).map_err(|failure| failure.failing())
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
