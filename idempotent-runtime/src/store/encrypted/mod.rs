//! Sealing what another store keeps.

mod key;
mod seal;

use std::{any::Any, fmt, future::Future, pin::Pin};

pub use self::key::{SealingKey, SealingKeyError, SealingKeyId};
use self::seal::{OVERHEAD, OpenError, Place, open, seal};
use super::{
    ClaimAnswer, Completion, Fence, Forget, Forgotten, Found, Inspect, Inspection, Listing,
    MemoryUsage, Notify, Page, RecordState, Store, StoreError, Transactional,
};
use crate::core::{
    fingerprint::Fingerprint,
    record::{Claim, RecordId},
    response::StoredResponse,
};

/// Any store, with its responses sealed at rest: whoever reads the database, its backups or its
/// traffic learns nothing of what the API answered.
///
/// ```
/// use idempotent_runtime::{Encrypted, SealingKey, SealingKeyError, Store};
///
/// /// `secret` is what `openssl rand -hex 32` has printed, from where the service's secrets are.
/// fn sealed<S: Store>(store: S, secret: &str) -> Result<Encrypted<S>, SealingKeyError> {
///     Ok(Encrypted::new(store, secret.parse()?))
/// }
/// # let _: SealingKey = "9f1b0c5e7a2d4f6083b5c7d9e1f30527496b8dafc1e3052749fb1d3f5a7c9e0b".parse()?;
/// # Ok::<(), SealingKeyError>(())
/// ```
///
/// # What is hidden, and what is not
///
/// Status, headers and body are hidden, also those of a record without body (status and
/// `Location`). Each is sealed with XChaCha20-Poly1305 under a nonce of its own of 24 random
/// bytes, together with the record's id and fingerprint: a record that was changed, cut off, or
/// moved to another id does not open.
///
/// Not hidden are the record's id and the request's fingerprint, which are hashes: who can guess
/// a whole request can tell that it was made. Nor are the size of a response (to the byte), the
/// times, which key sealed it, and that a record or a claim is there. Whoever can write to the
/// store can still delete records and put older ones back in their own place: sealing is no
/// substitute for the store's access control.
///
/// # A record that does not open
///
/// Its key is not there, it was changed, or it was never sealed:
/// [`StoreError::Unreadable`], which the client is told as 503 `store-unavailable`, and the
/// handler does not run, not even with `store_down = "run"`: it may have run before. The error
/// says what is wrong and names the key by its id; it shows nothing of the record.
///
/// # Keys
///
/// 32 random bytes, such as `openssl rand -hex 32` prints. Keep them where the application's
/// other secrets are, in a secret manager or a file that only the service can read, and not in
/// the database whose records they seal, nor in its backups. Without the key the records are
/// lost, and until their ttl ends their keys are answered 503.
///
/// To replace a key, without a moment in which a process meets a record that it cannot open:
///
/// 1. Every process is given the new key to open with:
///    `Encrypted::new(store, old).open_with(new)`.
/// 2. When all run so, the two change places: `Encrypted::new(store, new).open_with(old)`.
/// 3. When all run so, and after that the longest `ttl` (and the longest run) has passed,
///    nothing is sealed under the old key any more: `Encrypted::new(store, new)`.
///
/// A key that may be known to others is taken away at once, without step 3's waiting; what was
/// sealed under it is then answered 503 until its ttl ends.
///
/// # A store that already has records
///
/// Records that are not sealed are refused, so that nobody who can write to the store can make
/// up a response. [`accept_plain`](Self::accept_plain) reads them, for the time of a migration.
///
/// # Room
///
/// A record grows by 57 bytes. What a claim asks the store to reserve grows by as much.
///
/// A call that is dropped before it answers has happened as far as it has in the store behind.
#[derive(Clone)]
pub struct Encrypted<S> {
    store: S,
    /// There is at least one. The first seals, all open.
    keys: Vec<SealingKey>,
    accepts_plain: bool,
}

impl<S: Store> Encrypted<S> {
    /// Seals the responses in this store under `key`, and opens what was sealed under it.
    pub fn new(store: S, key: SealingKey) -> Self {
        Self {
            store,
            keys: vec![key],
            accepts_plain: false,
        }
    }

    /// Also opens what was sealed under `key`: one that was replaced, or will be.
    #[must_use]
    pub fn open_with(mut self, key: SealingKey) -> Self {
        self.keys.push(key);
        self
    }

    /// Also reads records that are not sealed: those from before the store was encrypted.
    ///
    /// Take this away when the longest `ttl` has passed. While it is there, whoever can write to
    /// the store can make up responses.
    #[must_use]
    pub fn accept_plain(mut self) -> Self {
        self.accepts_plain = true;
        self
    }

    /// The store behind, whose responses are sealed.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.store
    }

    fn seal(&self, claim: &Claim, response: &StoredResponse) -> Result<StoredResponse, StoreError> {
        let place = Place {
            id: &claim.id,
            fingerprint: &claim.fingerprint,
        };
        // What cannot be sealed now may be later; it is never stored as it is.
        seal(response, place, &self.keys[0]).map_err(StoreError::unavailable)
    }

    fn open(&self, id: &RecordId, found: Found) -> Result<Found, StoreError> {
        let Found::Done {
            fingerprint,
            response,
            ttl_left,
        } = found
        else {
            return Ok(found);
        };
        Ok(Found::Done {
            fingerprint,
            response: self.open_response(id, &fingerprint, response)?,
            ttl_left,
        })
    }

    fn open_response(
        &self,
        id: &RecordId,
        fingerprint: &Fingerprint,
        response: StoredResponse,
    ) -> Result<StoredResponse, StoreError> {
        let place = Place { id, fingerprint };
        match open(&response, place, &self.keys) {
            Ok(opened) => Ok(opened),
            Err(OpenError::Plain) if self.accepts_plain => Ok(response),
            Err(error) => Err(StoreError::unreadable(error)),
        }
    }

    fn open_fenced(&self, id: &RecordId, completion: Completion) -> Result<Completion, StoreError> {
        match completion {
            Completion::Fenced(found) => self.open(id, found).map(Completion::Fenced),
            Completion::Stored => Ok(completion),
        }
    }
}

impl<S: Store> Store for Encrypted<S> {
    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, StoreError> {
        let larger = Claim {
            max_response: claim.max_response.saturating_add(OVERHEAD),
            ..*claim
        };
        match self.store.claim(&larger).await? {
            ClaimAnswer::Found(found) => self.open(&claim.id, found).map(ClaimAnswer::Found),
            ClaimAnswer::Claimed => Ok(ClaimAnswer::Claimed),
        }
    }

    async fn complete(
        &self,
        claim: &Claim,
        response: &StoredResponse,
    ) -> Result<Completion, StoreError> {
        let sealed = self.seal(claim, response)?;
        let completion = self.store.complete(claim, &sealed).await?;
        self.open_fenced(&claim.id, completion)
    }

    async fn release(&self, claim: &Claim) -> Result<Fence, StoreError> {
        self.store.release(claim).await
    }

    async fn renew(&self, claim: &Claim) -> Result<Fence, StoreError> {
        self.store.renew(claim).await
    }

    fn needs_lease(&self) -> bool {
        self.store.needs_lease()
    }

    fn abandon(&self, claim: &Claim) {
        self.store.abandon(claim);
    }

    fn as_notify(&self) -> Option<&dyn Notify> {
        self.store.as_notify()
    }

    fn as_transactional(&self) -> Option<&dyn Transactional> {
        self.store.as_transactional().map(|_| self as _)
    }

    fn as_inspect(&self) -> Option<&dyn Inspect> {
        self.store.as_inspect().map(|_| self as _)
    }

    fn memory_usage(&self) -> MemoryUsage {
        self.store.memory_usage()
    }
}

impl<S: Store> Transactional for Encrypted<S> {
    fn complete_in<'a>(
        &'a self,
        connection: &'a mut (dyn Any + Send),
        claim: &'a Claim,
        response: &'a StoredResponse,
    ) -> Pin<Box<dyn Future<Output = Result<Completion, StoreError>> + Send + 'a>> {
        Box::pin(async move {
            let transactional = self.store.as_transactional();
            let transactional = transactional.ok_or(StoreError::Unsupported)?;
            let sealed = self.seal(claim, response)?;
            let completion = transactional
                .complete_in(connection, claim, &sealed)
                .await?;
            self.open_fenced(&claim.id, completion)
        })
    }
}

impl<S: Store> Inspect for Encrypted<S> {
    /// A record is opened. One that does not open is [`StoreError::Unreadable`].
    fn inspect<'a>(
        &'a self,
        id: &'a RecordId,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Inspection>, StoreError>> + Send + 'a>> {
        Box::pin(async move {
            let store = self.store.as_inspect().ok_or(StoreError::Unsupported)?;
            let Some(mut inspection) = store.inspect(id).await? else {
                return Ok(None);
            };
            if let RecordState::Done { response, .. } = &mut inspection.state {
                *response = self.open_response(id, &inspection.fingerprint, response.clone())?;
            }
            Ok(Some(inspection))
        })
    }

    fn forget<'a>(
        &'a self,
        id: &'a RecordId,
        forget: Forget,
    ) -> Pin<Box<dyn Future<Output = Result<Forgotten, StoreError>> + Send + 'a>> {
        match self.store.as_inspect() {
            Some(store) => store.forget(id, forget),
            None => Box::pin(async { Err(StoreError::Unsupported) }),
        }
    }

    fn list<'a>(
        &'a self,
        listing: &'a Listing,
    ) -> Pin<Box<dyn Future<Output = Result<Page, StoreError>> + Send + 'a>> {
        match self.store.as_inspect() {
            Some(store) => store.list(listing),
            None => Box::pin(async { Err(StoreError::Unsupported) }),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Encrypted<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Encrypted")
            .field("store", &self.store)
            .field("keys", &self.keys)
            .field("accepts_plain", &self.accepts_plain)
            .finish()
    }
}
