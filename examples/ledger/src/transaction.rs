//! A transaction of the ledger.

use std::{any::Any, error::Error, fmt};

use idempotent_runtime::store::DatabaseTransaction;

use crate::{
    Entry, Refusal,
    database::{Open, Table},
};

/// An open transaction of the ledger's database. Dropped before it is committed, it is rolled
/// back.
///
/// It stands for `sqlx::Transaction`, which an application with one kind of database would use
/// as it is: `execution.commit_in(&mut transaction, …)` takes either.
#[must_use = "dropped, it is rolled back"]
pub struct LedgerTransaction {
    open: Open,
    entered: Vec<Entered>,
}

/// An entry that is there when the transaction is committed.
pub(crate) struct Entered {
    pub(crate) table: &'static Table,
    pub(crate) owner: String,
    pub(crate) entry: Entry,
}

impl LedgerTransaction {
    pub(crate) fn new(open: Open) -> Self {
        Self {
            open,
            entered: Vec::new(),
        }
    }

    pub(crate) async fn enter(
        &mut self,
        table: &'static Table,
        owner: &str,
        entry: Entry,
    ) -> Result<(), sqlx::Error> {
        self.open.insert(table, owner, &entry).await?;
        self.entered.push(Entered {
            table,
            owner: owner.to_owned(),
            entry,
        });
        Ok(())
    }

    /// Commits it, by itself: without the record of a request.
    ///
    /// # Errors
    ///
    /// [`Refusal::Failed`]: nobody can say whether it was committed, so it must not simply be
    /// done again.
    pub async fn commit(self) -> Result<(), Refusal> {
        self.finish().await.map_err(Refusal::failed)
    }

    async fn finish(self) -> Result<(), sqlx::Error> {
        self.open.commit(&self.entered).await?;
        for Entered { table, entry, .. } in self.entered {
            tracing::info!(book = table.name, id = %entry.id, amount = entry.amount, "entered");
        }
        Ok(())
    }
}

/// What lets `commit_in` write a request's record in this transaction.
impl DatabaseTransaction for LedgerTransaction {
    fn connection(&mut self) -> &mut (dyn Any + Send) {
        match &mut self.open {
            // Nothing that a store could write in.
            Open::Memory(memory) => memory,
            Open::Sqlite(transaction) => transaction.connection(),
            Open::Postgres(transaction) => transaction.connection(),
        }
    }

    async fn commit(self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.finish().await?)
    }
}

impl fmt::Debug for LedgerTransaction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LedgerTransaction")
            .field("entered", &self.entered.len())
            .finish_non_exhaustive()
    }
}
