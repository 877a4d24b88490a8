//! The SQLite store, looked at by an operator.

use std::{future::Future, pin::Pin};

use super::{
    SqliteStore,
    verb::{Question, Verb},
};
use crate::{
    core::record::RecordId,
    store::{Forget, Forgotten, Inspect, Inspection, Listing, Page, StoreError},
};

impl Inspect for SqliteStore {
    fn inspect<'a>(
        &'a self,
        id: &'a RecordId,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Inspection>, StoreError>> + Send + 'a>> {
        let id = *id;
        Box::pin(self.ask(move |answer| Question::Inspect(id, answer)))
    }

    fn forget<'a>(
        &'a self,
        id: &'a RecordId,
        forget: Forget,
    ) -> Pin<Box<dyn Future<Output = Result<Forgotten, StoreError>> + Send + 'a>> {
        let id = *id;
        Box::pin(self.verb(move |asked| Verb::Forget(id, forget, asked)))
    }

    fn list<'a>(
        &'a self,
        listing: &'a Listing,
    ) -> Pin<Box<dyn Future<Output = Result<Page, StoreError>> + Send + 'a>> {
        let listing = *listing;
        Box::pin(self.ask(move |answer| Question::List(listing, answer)))
    }
}
