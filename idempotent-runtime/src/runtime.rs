//! `Idempotency`: what the application sets up once, and every protected handler finds.

mod builder;
mod counts;
mod report;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use self::builder::IdempotencyBuilder;
#[cfg(any(feature = "axum", feature = "actix"))]
use self::builder::Resolver;
#[cfg(any(feature = "axum", feature = "actix"))]
pub use self::builder::scope_id;
use self::counts::Counts;
pub(crate) use self::{
    builder::{SHORTEST, Settings},
    counts::{Detached, Running, Waiting},
};
use crate::{
    any_store::AnyStore,
    core::{
        policy::{OnLost, Policy},
        record::OwnerToken,
        response::StoredResponse,
    },
    expiry::{self, IDEMPOTENCY_EXPIRES},
    operator::Switch,
    store::Store,
};

/// The runtime of all protected handlers of an application: its store, its scopes, its settings.
///
/// Made once and handed to the router: in axum as a layer, in actix-web as app data. Cloning it
/// gives another handle on the same runtime.
///
/// ```
/// use idempotent_runtime::{Idempotency, MemoryStore};
///
/// let idempotency = Idempotency::builder(MemoryStore::default())
///     .scope("user", |request| request.header("x-user-id").map(str::to_owned))
///     .build();
/// ```
#[derive(Clone)]
pub struct Idempotency(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) store: Box<dyn AnyStore>,
    pub(crate) settings: Settings,
    owners: OwnerTokens,
    counts: Counts,
    pub(crate) switch: Switch,
}

impl Idempotency {
    /// A runtime over this store.
    pub fn builder(store: impl Store) -> IdempotencyBuilder {
        let store = Arc::new(store);
        #[cfg(feature = "metrics")]
        let store = crate::metrics::Measured(store);
        IdempotencyBuilder::over(Box::new(store))
    }

    /// Waits until no protected handler is running: none in a request, none that goes on after
    /// its client went away, none whose outcome is still to be recorded.
    ///
    /// Call it when the server has stopped accepting requests and before the process ends, so
    /// that no run is lost. It does not stop new runs from starting, and it waits as long as it
    /// takes: a store that stays away keeps it waiting, so give it a time limit. Dropping the
    /// future stops the waiting and nothing else.
    ///
    /// In actix-web a handler whose client went away lives on in its worker, and dies with it.
    /// There, call it while the workers still live: `ServerHandle::pause`, then `drain`, then
    /// `ServerHandle::stop`, with `HttpServer::disable_signals` so that a signal does not stop
    /// them first.
    ///
    /// ```
    /// # use idempotent_runtime::{Idempotency, MemoryStore};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let idempotency = Idempotency::builder(MemoryStore::default()).build();
    /// // … the server has shut down …
    /// if tokio::time::timeout(Duration::from_secs(30), idempotency.drain()).await.is_err() {
    ///     eprintln!("{} handlers were still running", idempotency.running());
    /// }
    /// # }
    /// ```
    pub async fn drain(&self) {
        loop {
            let idle = self.0.counts.idle.notified();
            if self.0.counts.running.load(Ordering::SeqCst) == 0 {
                return;
            }
            idle.await;
        }
    }

    /// How many protected handlers are running or still to be recorded, those included whose client
    /// went away.
    #[must_use]
    pub fn running(&self) -> usize {
        let counts = &self.0.counts;
        let running = counts.running.load(Ordering::SeqCst);
        running.saturating_sub(counts.releasing.load(Ordering::SeqCst))
    }

    /// How many protected handlers are running whose client went away.
    #[must_use]
    pub fn detached(&self) -> usize {
        self.0.counts.detached.load(Ordering::Relaxed)
    }

    /// How many requests are waiting for a running one (`wait = "…"`).
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.counts.waiting.load(Ordering::Relaxed)
    }

    /// Sets the gauges of [`metrics`](crate::metrics) to what they are now. Call it just before
    /// metrics are rendered, in the handler of `/metrics` for instance, or now and then where they
    /// are pushed. It takes about a microsecond.
    ///
    /// Gauges have no labels: of two runtimes in one process the last call counts.
    ///
    /// ```
    /// # use idempotent_runtime::{Idempotency, MemoryStore};
    /// # let idempotency = Idempotency::builder(MemoryStore::default()).build();
    /// idempotency.record_gauges();
    /// ```
    #[cfg(feature = "metrics")]
    pub fn record_gauges(&self) {
        crate::metrics::gauges(self);
    }

    /// How many requests ran unprotected so far: without a key where none is needed, or while
    /// the store was away and the policy says run, or while protection was
    /// [turned off](Self::disable).
    #[must_use]
    pub fn unprotected(&self) -> u64 {
        self.0.counts.unprotected.load(Ordering::Relaxed)
    }
}

impl Inner {
    pub(crate) fn owner(&self) -> OwnerToken {
        self.owners.next()
    }

    /// A response that was not a handler's, with the date at which its record, made now, expires;
    /// where that is told.
    pub(crate) fn dated(&self, response: StoredResponse, ttl: Duration) -> StoredResponse {
        if self.settings.tells_expiry && !response.is_value() {
            let date = expiry::date(ttl);
            response.with_header(IDEMPOTENCY_EXPIRES, date.as_bytes())
        } else {
            response
        }
    }

    /// What becomes of a lost run.
    pub(crate) fn on_lost(&self, policy: &Policy) -> OnLost {
        self.settings.on_lost.unwrap_or(policy.on_lost)
    }

    /// The resolver of the scope with this id.
    #[cfg(any(feature = "axum", feature = "actix"))]
    pub(crate) fn resolver(&self, scope: u64) -> Option<&Resolver> {
        let named = self
            .settings
            .scopes
            .iter()
            .find(|named| named.id == scope)?;
        Some(&named.resolver)
    }
}

/// Makes owner tokens: a random start of 128 bits and a counter, which is as unique as a random
/// token for each claim and does not ask for randomness on every request.
struct OwnerTokens {
    start: u128,
    next: AtomicU64,
}

impl OwnerTokens {
    fn new() -> Self {
        Self {
            start: uuid::Uuid::new_v4().as_u128(),
            next: AtomicU64::new(0),
        }
    }

    fn next(&self) -> OwnerToken {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        OwnerToken::new(self.start.wrapping_add(next.into()))
    }
}

impl fmt::Debug for Idempotency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runtime = formatter.debug_struct("Idempotency");
        runtime.field("namespace", &self.0.settings.namespace);
        #[cfg(any(feature = "axum", feature = "actix"))]
        {
            let scopes: Vec<&str> = self
                .0
                .settings
                .scopes
                .iter()
                .map(|scope| &*scope.name)
                .collect();
            runtime.field("scopes", &scopes);
        }
        runtime
            .field("running", &self.running())
            .finish_non_exhaustive()
    }
}
