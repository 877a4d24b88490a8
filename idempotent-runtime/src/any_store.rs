//! A store whose type is forgotten: every runtime has one type, whatever its store.

use std::{
    any::Any,
    borrow::Borrow,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    core::{record::Claim, response::StoredResponse},
    store::{
        ClaimAnswer, Completion, Fence, Inspect, Notify, Store, StoreError, Transactional,
        memory::MemoryStore,
    },
};

/// A question to a store, which owns what it needs, so that it can be finished elsewhere when its
/// request is dropped.
pub(crate) enum StoreFuture<T, E = StoreError> {
    /// The memory store's answer: it has nothing to wait for, so nothing is put on the heap.
    Answered(Option<Result<T, E>>),
    Asked(Pin<Box<dyn Future<Output = Result<T, E>> + Send>>),
}

impl<T, E> StoreFuture<T, E> {
    fn answered(answer: Result<T, E>) -> Self {
        Self::Answered(Some(answer))
    }
}

/// Why a store was not told of an outcome.
pub(crate) enum CompleteError {
    /// Another record is in its place, and trying again will not make it readable.
    Unreadable(StoreError),
    /// It can be tried again with the response.
    Failed(StoreError, StoredResponse),
}

impl Borrow<StoreError> for CompleteError {
    fn borrow(&self) -> &StoreError {
        let (Self::Unreadable(error) | Self::Failed(error, _)) = self;
        error
    }
}

// The answer is never pinned, and the box is pinned by itself.
impl<T, E> Unpin for StoreFuture<T, E> {}

impl<T, E> Future for StoreFuture<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Answered(answer) => Poll::Ready(answer.take().expect("polled until it is ready")),
            Self::Asked(asked) => asked.as_mut().poll(context),
        }
    }
}

/// A [`Store`] whose type is forgotten.
pub(crate) trait AnyStore: Send + Sync {
    fn claim(&self, claim: &Claim) -> StoreFuture<ClaimAnswer>;
    fn complete(
        &self,
        claim: &Claim,
        response: StoredResponse,
    ) -> StoreFuture<Completion, CompleteError>;
    fn release(&self, claim: Claim) -> StoreFuture<Fence>;
    fn renew(&self, claim: Claim) -> StoreFuture<Fence>;
    fn needs_lease(&self) -> bool;
    fn abandon(&self, claim: &Claim);
    fn as_notify(&self) -> Option<&dyn Notify>;
    fn as_transactional(&self) -> Option<&dyn Transactional>;
    fn as_inspect(&self) -> Option<&dyn Inspect>;
    #[cfg(feature = "metrics")]
    fn memory_usage(&self) -> crate::store::MemoryUsage;
}

impl<S: Store> AnyStore for Arc<S> {
    fn claim(&self, claim: &Claim) -> StoreFuture<ClaimAnswer> {
        if let Some(memory) = as_memory(&**self) {
            let answer = memory.claim_now(claim);
            return StoreFuture::answered(answer.and_then(ClaimAnswer::readable));
        }
        let (store, claim) = (Self::clone(self), *claim);
        StoreFuture::Asked(Box::pin(async move {
            let answer = store.as_ref().claim(&claim).await;
            answer.and_then(ClaimAnswer::readable)
        }))
    }

    fn complete(
        &self,
        claim: &Claim,
        response: StoredResponse,
    ) -> StoreFuture<Completion, CompleteError> {
        if let Some(memory) = as_memory(&**self) {
            let completion = memory.complete_now(claim, response).readable();
            return StoreFuture::answered(completion.map_err(CompleteError::Unreadable));
        }
        let (store, claim) = (Self::clone(self), *claim);
        StoreFuture::Asked(Box::pin(async move {
            let completion = store.as_ref().complete(&claim, &response).await;
            completion
                .and_then(Completion::readable)
                .map_err(|error| match error {
                    StoreError::Unreadable(_) => CompleteError::Unreadable(error),
                    error => CompleteError::Failed(error, response),
                })
        }))
    }

    fn release(&self, claim: Claim) -> StoreFuture<Fence> {
        let store = Self::clone(self);
        StoreFuture::Asked(Box::pin(
            async move { store.as_ref().release(&claim).await },
        ))
    }

    fn renew(&self, claim: Claim) -> StoreFuture<Fence> {
        let store = Self::clone(self);
        StoreFuture::Asked(Box::pin(async move { store.as_ref().renew(&claim).await }))
    }

    fn needs_lease(&self) -> bool {
        self.as_ref().needs_lease()
    }

    fn abandon(&self, claim: &Claim) {
        self.as_ref().abandon(claim);
    }

    fn as_notify(&self) -> Option<&dyn Notify> {
        self.as_ref().as_notify()
    }

    fn as_transactional(&self) -> Option<&dyn Transactional> {
        self.as_ref().as_transactional()
    }

    fn as_inspect(&self) -> Option<&dyn Inspect> {
        self.as_ref().as_inspect()
    }

    #[cfg(feature = "metrics")]
    fn memory_usage(&self) -> crate::store::MemoryUsage {
        self.as_ref().memory_usage()
    }
}

/// Known while compiling: of any other store nothing is left of it.
fn as_memory<S: Store>(store: &S) -> Option<&MemoryStore> {
    (store as &dyn Any).downcast_ref()
}
