//! What is written in a transaction.

use std::{
    any::Any,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
};

use idempotent_runtime::{
    Claim, Encrypted, MemoryStore, Store, StoredResponse,
    store::{ClaimAnswer, Completion, Fence, Found, Notify, StoreError, Transactional},
};

use crate::{claim_of, held_response, key, secret};

/// A store that writes in "transactions" and keeps what it was given.
#[derive(Clone)]
struct InTransactions(MemoryStore, Arc<Mutex<Vec<StoredResponse>>>);

impl Store for InTransactions {
    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, StoreError> {
        self.0.claim(claim).await
    }

    async fn complete(
        &self,
        claim: &Claim,
        response: &StoredResponse,
    ) -> Result<Completion, StoreError> {
        self.0.complete(claim, response).await
    }

    async fn release(&self, claim: &Claim) -> Result<Fence, StoreError> {
        self.0.release(claim).await
    }

    async fn renew(&self, claim: &Claim) -> Result<Fence, StoreError> {
        self.0.renew(claim).await
    }

    fn needs_lease(&self) -> bool {
        true
    }

    fn abandon(&self, _: &Claim) {}

    fn as_notify(&self) -> Option<&dyn Notify> {
        None
    }

    fn as_transactional(&self) -> Option<&dyn Transactional> {
        Some(self)
    }
}

impl Transactional for InTransactions {
    fn complete_in<'a>(
        &'a self,
        connection: &'a mut (dyn Any + Send),
        claim: &'a Claim,
        response: &'a StoredResponse,
    ) -> Pin<Box<dyn Future<Output = Result<Completion, StoreError>> + Send + 'a>> {
        Box::pin(async move {
            if !connection.is::<u8>() {
                return Err(StoreError::Unsupported);
            }
            self.1.lock().unwrap().push(response.clone());
            self.0.complete(claim, response).await
        })
    }
}

#[tokio::test]
async fn what_is_written_in_a_transaction_is_sealed() {
    let inner = InTransactions(MemoryStore::default(), Arc::default());
    let store = Encrypted::new(inner.clone(), key(1));
    assert!(store.needs_lease());
    assert!(store.as_notify().is_none());
    let transactional = store.as_transactional().unwrap();
    let first = claim_of("k", 1);
    let response = secret();
    let completion = transactional.complete_in(&mut 0u8, &first, &response).await;
    assert_eq!(completion.unwrap(), Completion::Stored);
    let written = inner.1.lock().unwrap()[0].clone();
    assert!(written.is_sealed());
    assert_eq!(held_response(&store, &first).await, secret());
    let late = claim_of("k", 2);
    match transactional
        .complete_in(&mut 0u8, &late, &response)
        .await
        .unwrap()
    {
        Completion::Fenced(Found::Done { response, .. }) => assert_eq!(response, secret()),
        told => panic!("{told:?}"),
    }
    let refused = transactional
        .complete_in(&mut "no connection", &late, &response)
        .await;
    assert!(matches!(refused, Err(StoreError::Unsupported)));
    let without = Encrypted::new(MemoryStore::default(), key(1));
    assert!(without.as_transactional().is_none());
    assert!(without.as_notify().is_some());
    let refused = without.complete_in(&mut 0u8, &late, &response).await;
    assert!(matches!(refused, Err(StoreError::Unsupported)));
}
