//! Entries in this process's memory.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use super::Table;
use crate::{Entry, transaction::Entered};

/// The name of a table, and an owner.
type Owned = (&'static str, String);

#[derive(Debug, Default)]
pub(crate) struct Memory {
    entries: Mutex<HashMap<Owned, Vec<Entry>>>,
}

impl Memory {
    pub(super) fn enter(&self, entered: &[Entered]) {
        let mut entries = self.entries();
        for Entered {
            table,
            owner,
            entry,
        } in entered
        {
            let own = entries.entry((table.name, owner.clone())).or_default();
            own.push(entry.clone());
        }
    }

    pub(super) fn list(&self, table: &Table, owner: &str) -> Vec<Entry> {
        let entries = self.entries();
        let own = entries.get(&(table.name, owner.to_owned()));
        own.cloned().unwrap_or_default()
    }

    pub(super) fn find(&self, table: &Table, owner: &str, id: Uuid) -> Option<Entry> {
        let entries = self.entries();
        let own = entries.get(&(table.name, owner.to_owned()))?;
        own.iter().find(|entry| entry.id == id).cloned()
    }

    /// Never held across an `await`, and nothing panics while it is held.
    fn entries(&self) -> MutexGuard<'_, HashMap<Owned, Vec<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
