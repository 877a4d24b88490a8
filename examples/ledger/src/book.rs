//! The ledger: payments and orders, in memory.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Refusal;

/// The payments and the orders of all callers. Cloning gives another handle on the same ledger.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// What was paid.
    pub payments: Book,
    /// What was ordered.
    pub orders: Book,
}

/// Entries of one kind, each owned by the caller who made it.
///
/// The owner is who the request's credentials name. The `user` in an entry is what the request's
/// body says; it is kept and given back, and nothing is decided by it.
#[derive(Clone, Debug)]
pub struct Book {
    name: &'static str,
    entries: Arc<Mutex<HashMap<String, Vec<Entry>>>>,
}

/// What a client asks to have entered.
#[derive(Clone, Debug, Deserialize)]
pub struct NewEntry {
    /// Whom it is for.
    pub user: String,
    /// In the smallest unit of the currency, such as cents.
    pub amount: i64,
    /// Such as `USD`.
    pub currency: String,
}

/// What was entered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
    /// [`Refusal::AmountNotPositive`].
    pub fn check(&self) -> Result<(), Refusal> {
        if self.amount <= 0 {
            return Err(Refusal::AmountNotPositive);
        }
        Ok(())
    }
}

impl Ledger {
    /// A ledger without entries.
    #[must_use]
    pub fn new() -> Self {
        Self {
            payments: Book::new("payments"),
            orders: Book::new("orders"),
        }
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

impl Book {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            entries: Arc::default(),
        }
    }

    /// Makes an entry. This is the effect that must not happen twice: each call makes another
    /// one, and logs it.
    #[must_use]
    pub fn enter(&self, owner: &str, new: NewEntry) -> Entry {
        let entry = Entry {
            id: Uuid::new_v4(),
            user: new.user,
            amount: new.amount,
            currency: new.currency,
            status: Status::Completed,
        };
        tracing::info!(book = self.name, id = %entry.id, amount = entry.amount, "entered");
        let mut entries = self.entries();
        let own = entries.entry(owner.to_owned()).or_default();
        own.push(entry.clone());
        entry
    }

    /// The owner's entries, oldest first.
    #[must_use]
    pub fn list(&self, owner: &str) -> Vec<Entry> {
        self.entries().get(owner).cloned().unwrap_or_default()
    }

    /// One of the owner's entries.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`], for another owner's entry as well: that it exists is not told.
    pub fn find(&self, owner: &str, id: &str) -> Result<Entry, Refusal> {
        let id = Uuid::try_parse(id).map_err(|_| Refusal::NotFound)?;
        let entries = self.entries();
        let mut own = entries.get(owner).into_iter().flatten();
        own.find(|entry| entry.id == id)
            .cloned()
            .ok_or(Refusal::NotFound)
    }

    /// Never held across an `await`, and nothing panics while it is held.
    fn entries(&self) -> MutexGuard<'_, HashMap<String, Vec<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(amount: i64) -> NewEntry {
        NewEntry {
            user: "alice".to_owned(),
            amount,
            currency: "USD".to_owned(),
        }
    }

    #[test]
    fn an_entry_is_seen_by_its_owner_alone() {
        let book = Ledger::new().payments;
        let entry = book.enter("alice", new(100));
        let id = entry.id.to_string();
        assert_eq!(book.find("alice", &id).as_ref(), Ok(&entry));
        assert_eq!(book.list("alice"), [entry]);
        assert_eq!(book.list("bob"), []);
        assert_eq!(book.find("bob", &id), Err(Refusal::NotFound));
        assert_eq!(book.find("alice", "no-uuid"), Err(Refusal::NotFound));
    }

    #[test]
    fn payments_are_not_orders() {
        let ledger = Ledger::new();
        let order = ledger.orders.enter("alice", new(100));
        assert_eq!(ledger.clone().orders.list("alice"), [order]);
        assert_eq!(ledger.payments.list("alice"), []);
    }

    #[test]
    fn an_amount_is_more_than_nothing() {
        assert_eq!(new(1).check(), Ok(()));
        assert_eq!(new(0).check(), Err(Refusal::AmountNotPositive));
        assert_eq!(new(-1).check(), Err(Refusal::AmountNotPositive));
    }
}
