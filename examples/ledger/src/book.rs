//! The ledger: payments and orders.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    LedgerTransaction, Refusal,
    database::{Database, Memory, ORDERS, PAYMENTS, Table},
};

/// The payments and the orders of all callers. Cloning gives another handle on the same ledger.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// What was paid.
    pub payments: Book,
    /// What was ordered.
    pub orders: Book,
    database: Database,
    shares_database: bool,
}

/// Entries of one kind, each owned by the caller who made it.
///
/// The owner is who the request's credentials name. The `user` in an entry is what the request's
/// body says; it is kept and given back, and nothing is decided by it.
#[derive(Clone, Debug)]
pub struct Book {
    table: &'static Table,
    database: Database,
}

/// What a client asks to have entered.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct NewEntry {
    /// Whom it is for.
    #[schema(pattern = r"^[^\u0000]*$", example = "alice")]
    pub user: String,
    /// In the smallest unit of the currency, such as cents.
    #[schema(minimum = 1, example = 100)]
    pub amount: i64,
    /// Such as `USD`.
    #[schema(pattern = r"^[^\u0000]*$", example = "USD")]
    pub currency: String,
}

/// What was entered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Entry {
    /// Names the entry, also in its address.
    pub id: Uuid,
    /// Whom it is for.
    pub user: String,
    /// In the smallest unit of the currency, such as cents.
    pub amount: i64,
    /// Such as `USD`.
    pub currency: String,
    /// How far it got.
    pub status: Status,
}

/// How far an entry got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All the way.
    Completed,
}

impl NewEntry {
    /// Checks what its type does not say.
    ///
    /// # Errors
    ///
    /// [`Refusal::AmountNotPositive`], and [`Refusal::Malformed`] for a character that not every
    /// database can keep.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.amount <= 0 {
            return Err(Refusal::AmountNotPositive);
        }
        if self.user.contains('\0') || self.currency.contains('\0') {
            let reason = "`user` and `currency` must not hold the character U+0000";
            return Err(Refusal::Malformed(reason.to_owned()));
        }
        Ok(())
    }
}

impl Ledger {
    /// A ledger without entries, in this process's memory.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::over(Database::Memory(Arc::new(Memory::default())), false)
    }

    /// A ledger whose tables are there. `shares_database` says whether the idempotency store
    /// keeps its records in the same database.
    pub(crate) fn over(database: Database, shares_database: bool) -> Self {
        Self {
            payments: Book {
                table: &PAYMENTS,
                database: database.clone(),
            },
            orders: Book {
                table: &ORDERS,
                database: database.clone(),
            },
            database,
            shares_database,
        }
    }

    /// Whether the idempotency store keeps its records in the ledger's own database, so that an
    /// entry and the record of its request can be committed together.
    #[must_use]
    pub fn shares_database(&self) -> bool {
        self.shares_database
    }

    /// Begins a transaction, in which entries are made with [`Book::enter_in`]. Dropped before
    /// it is committed, it is rolled back.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`].
    pub async fn begin(&self) -> Result<LedgerTransaction, Refusal> {
        let open = self.database.begin().await;
        Ok(LedgerTransaction::new(open.map_err(Refusal::unavailable)?))
    }
}

impl Book {
    /// Makes an entry in a transaction; nothing has happened before that is committed. This is
    /// the effect that must not happen twice: each call makes another entry.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`]. Drop the transaction then.
    pub async fn enter_in(
        &self,
        transaction: &mut LedgerTransaction,
        owner: &str,
        new: NewEntry,
    ) -> Result<Entry, Refusal> {
        let entry = Entry {
            id: Uuid::new_v4(),
            user: new.user,
            amount: new.amount,
            currency: new.currency,
            status: Status::Completed,
        };
        let entered = transaction.enter(self.table, owner, entry.clone()).await;
        entered.map_err(Refusal::unavailable)?;
        Ok(entry)
    }

    /// Makes an entry, in a transaction of its own.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`], with nothing done, and [`Refusal::Failed`] when nobody can say
    /// whether the entry was made.
    pub async fn enter(&self, owner: &str, new: NewEntry) -> Result<Entry, Refusal> {
        let open = self.database.begin().await;
        let mut transaction = LedgerTransaction::new(open.map_err(Refusal::unavailable)?);
        let entry = self.enter_in(&mut transaction, owner, new).await?;
        transaction.commit().await?;
        Ok(entry)
    }

    /// The owner's entries, oldest first.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`].
    pub async fn list(&self, owner: &str) -> Result<Vec<Entry>, Refusal> {
        let entries = self.database.list(self.table, owner).await;
        entries.map_err(Refusal::unavailable)
    }

    /// One of the owner's entries.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`], for another owner's entry as well: that it exists is not told.
    /// [`Refusal::Unavailable`].
    pub async fn find(&self, owner: &str, id: &str) -> Result<Entry, Refusal> {
        let id = Uuid::try_parse(id).map_err(|_| Refusal::NotFound)?;
        let entry = self.database.find(self.table, owner, id).await;
        entry
            .map_err(Refusal::unavailable)?
            .ok_or(Refusal::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(amount: i64, user: &str) -> NewEntry {
        NewEntry {
            user: user.to_owned(),
            amount,
            currency: "USD".to_owned(),
        }
    }

    #[test]
    fn an_amount_is_more_than_nothing() {
        assert_eq!(new(1, "alice").check(), Ok(()));
        assert_eq!(new(0, "alice").check(), Err(Refusal::AmountNotPositive));
        assert_eq!(new(-1, "alice").check(), Err(Refusal::AmountNotPositive));
    }

    #[test]
    fn a_text_that_cannot_be_kept_everywhere_is_refused_everywhere() {
        let refusal = new(1, "al\0ice").check().unwrap_err();
        assert_eq!(refusal.status(), 400);
    }
}
