//! The stores that the suite runs on.

use idempotent_runtime::{
    Claim, MemoryStore, Store, StoredResponse,
    store::{ClaimAnswer, Completion, Fence, Notify, StoreError, Transactional},
};

/// Which store a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In memory, with a clock that stands still.
    Memory,
}

/// A store of one of the kinds.
#[derive(Clone, Debug)]
pub(crate) enum Backend {
    Memory(MemoryStore),
}

impl Backend {
    /// A store of this kind, on the servers that the environment names.
    pub(crate) async fn open(kind: Kind) -> Self {
        match kind {
            Kind::Memory => Self::Memory(MemoryStore::default()),
        }
    }
}

macro_rules! each {
    ($backend:expr, $store:ident => $what:expr) => {
        match $backend {
            Backend::Memory($store) => $what,
        }
    };
}

impl Store for Backend {
    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, StoreError> {
        each!(self, store => store.claim(claim).await)
    }

    async fn complete(
        &self,
        claim: &Claim,
        response: &StoredResponse,
    ) -> Result<Completion, StoreError> {
        each!(self, store => store.complete(claim, response).await)
    }

    async fn release(&self, claim: &Claim) -> Result<Fence, StoreError> {
        each!(self, store => store.release(claim).await)
    }

    async fn renew(&self, claim: &Claim) -> Result<Fence, StoreError> {
        each!(self, store => store.renew(claim).await)
    }

    fn needs_lease(&self) -> bool {
        each!(self, store => store.needs_lease())
    }

    fn abandon(&self, claim: &Claim) {
        each!(self, store => store.abandon(claim));
    }

    fn as_notify(&self) -> Option<&dyn Notify> {
        each!(self, store => store.as_notify())
    }

    fn as_transactional(&self) -> Option<&dyn Transactional> {
        each!(self, store => store.as_transactional())
    }
}
