//! `Idempotency`: what the application sets up once, and every protected handler finds.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify as Bell;

#[cfg(any(feature = "axum", feature = "actix"))]
use crate::web::RequestHead;
use crate::{
    any_store::AnyStore,
    core::{
        policy::{OnLost, Policy},
        problem::ProblemSettings,
        record::{OwnerToken, ShortHash},
        response::StoredResponse,
    },
    event::{Event, Outcome},
    expiry::{self, IDEMPOTENCY_EXPIRES},
    observation::{Joined, Measures, Observation, Operation},
    operator::Switch,
    reconcile::{LostRun, Reconciled, Reconciler},
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
    pub(crate) namespace: String,
    pub(crate) problems: ProblemSettings,
    #[cfg(any(feature = "axum", feature = "actix"))]
    scopes: Vec<NamedScope>,
    max_waiting: usize,
    waiting: AtomicUsize,
    releasing_late: AtomicUsize,
    owners: OwnerTokens,
    running: AtomicUsize,
    detached: AtomicUsize,
    idle: Bell,
    unprotected: AtomicU64,
    hook: Option<Hook>,
    pub(crate) reconciler: Option<Reconciler>,
    pub(crate) lease: Option<Duration>,
    pub(crate) ttl: Option<Duration>,
    on_lost: Option<OnLost>,
    pub(crate) switch: Switch,
    /// Whether responses say when their record expires.
    pub(crate) tells_expiry: bool,
}

type Hook = Box<dyn Fn(&Event<'_>) + Send + Sync>;

#[cfg(any(feature = "axum", feature = "actix"))]
pub(crate) type Resolver = Box<dyn Fn(&RequestHead<'_>) -> Option<String> + Send + Sync>;

#[cfg(any(feature = "axum", feature = "actix"))]
struct NamedScope {
    id: u64,
    name: String,
    resolver: Resolver,
}

/// What is left over when a store was away for longer than a lease must not grow without bound.
const MAX_RELEASING_LATE: usize = 1024;

/// The shortest lease and ttl that can be set at run time.
pub(crate) const SHORTEST: Duration = Duration::from_millis(100);

/// Sets up an [`Idempotency`].
#[must_use]
pub struct IdempotencyBuilder {
    store: Box<dyn AnyStore>,
    namespace: String,
    problems: ProblemSettings,
    #[cfg(any(feature = "axum", feature = "actix"))]
    scopes: Vec<NamedScope>,
    max_waiting: usize,
    hook: Option<Hook>,
    reconciler: Option<Reconciler>,
    lease: Option<Duration>,
    ttl: Option<Duration>,
    on_lost: Option<OnLost>,
    tells_expiry: bool,
}

impl Idempotency {
    /// A runtime over this store.
    pub fn builder(store: impl Store) -> IdempotencyBuilder {
        let store = Arc::new(store);
        #[cfg(feature = "metrics")]
        let store = crate::metrics::Measured(store);
        IdempotencyBuilder {
            store: Box::new(store),
            namespace: String::new(),
            problems: ProblemSettings::default(),
            #[cfg(any(feature = "axum", feature = "actix"))]
            scopes: Vec::new(),
            max_waiting: 1024,
            hook: None,
            reconciler: None,
            lease: None,
            ttl: None,
            on_lost: None,
            tells_expiry: false,
        }
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
            let idle = self.0.idle.notified();
            if self.running() == 0 {
                return;
            }
            idle.await;
        }
    }

    /// How many protected handlers are running, those included whose client went away.
    #[must_use]
    pub fn running(&self) -> usize {
        self.0.running.load(Ordering::SeqCst)
    }

    /// How many protected handlers are running whose client went away.
    #[must_use]
    pub fn detached(&self) -> usize {
        self.0.detached.load(Ordering::Relaxed)
    }

    /// How many requests are waiting for a running one (`wait = "…"`).
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
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
        self.0.unprotected.load(Ordering::Relaxed)
    }
}

impl IdempotencyBuilder {
    /// Registers the resolver of `scope = "name"`: who the caller of a request is.
    ///
    /// It answers `None` (or an empty text) for a request without a known caller, which is then
    /// refused (401 `caller-unknown`) before the handler runs. It is asked once for each request with a key,
    /// before the handler's extractors run, and must depend on nothing but the request. A name
    /// that is registered twice keeps the last resolver.
    ///
    /// [`scopes`](crate::scopes) has ready-made resolvers.
    ///
    /// Who is told a stored response is decided by this value alone: take it from something
    /// that has been verified, such as an extension that an authentication middleware put there.
    #[cfg(any(feature = "axum", feature = "actix"))]
    pub fn scope(
        mut self,
        name: impl Into<String>,
        resolver: impl Fn(&RequestHead<'_>) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let name = name.into();
        self.scopes.retain(|scope| scope.name != name);
        self.scopes.push(NamedScope {
            id: scope_id(&name),
            name,
            resolver: Box::new(resolver),
        });
        self
    }

    /// Keeps the records of this application apart from others in the same store. Empty unless
    /// set; changing it forgets every record.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// What the `type` of a problem document starts with; `urn:problem:idempotency:` unless set.
    pub fn problem_base(mut self, base: impl Into<String>) -> Self {
        self.problems.base = base.into();
        self
    }

    /// Where the API's clients can read about its use of keys. Problem documents link there
    /// (`Link: <…>; rel="describedby"`).
    pub fn documentation(mut self, address: impl Into<String>) -> Self {
        self.problems.documentation = Some(address.into());
        self
    }

    /// How many requests may wait for a running one at the same time (`wait = "…"`); those
    /// beyond are answered 409 `in-flight` at once. 1024 unless set.
    pub fn max_waiting(mut self, requests: usize) -> Self {
        self.max_waiting = requests;
        self
    }

    /// Is told every outcome, in the request's own task: it must be quick and must not panic.
    ///
    /// It is told all that the metrics of the feature `metrics` are made of, but for the store's
    /// times, for those who have metrics of another kind.
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
    /// use idempotent_runtime::{Idempotency, MemoryStore, Outcome};
    ///
    /// let replays = Arc::new(AtomicU64::new(0));
    /// let counted = Arc::clone(&replays);
    /// let idempotency = Idempotency::builder(MemoryStore::default())
    ///     .on_event(move |event| {
    ///         if event.outcome == Outcome::Replayed {
    ///             counted.fetch_add(1, Ordering::Relaxed);
    ///         }
    ///     })
    ///     .build();
    /// ```
    pub fn on_event(mut self, hook: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.hook = Some(Box::new(hook));
        self
    }

    /// Asks what became of a run whose owner was lost, before `on_lost` decides.
    ///
    /// The application often can tell: from its own tables, or from the payment provider it
    /// called with a reference of its own. The hook is asked by the next request with the key,
    /// after that request has passed the handler's extractors; one request at a time asks, under
    /// a claim of its own that is renewed meanwhile, and the others wait or are told 409
    /// `in-flight`. It is asked again by a later request when the answer was
    /// [`Reconciled::Unknown`] and `on_lost = "refuse"`; in a store with leases when the asking
    /// request's own lease has ended, and until then the answer is 409 `in-flight`.
    ///
    /// All servers on one store should have the hook, or none: a server without it goes by
    /// `on_lost` alone.
    ///
    /// ```
    /// use idempotent_runtime::{Idempotency, MemoryStore, Reconciled, StoredResponse};
    ///
    /// # async fn payment_of(_: &str, _: &str, _: &str) -> Result<Option<String>, ()> { Ok(None) }
    /// let idempotency = Idempotency::builder(MemoryStore::default())
    ///     .reconcile(|lost| async move {
    ///         // A key is unique for one caller and one operation, and not by itself.
    ///         let (Some(caller), Some(key)) = (lost.caller, lost.key) else {
    ///             return Reconciled::Unknown;
    ///         };
    ///         match payment_of(&caller, &lost.operation, &key).await {
    ///             Ok(Some(payment)) => {
    ///                 let json: [(&str, &[u8]); 1] = [("content-type", b"application/json")];
    ///                 Reconciled::Done(StoredResponse::new(201, &json, payment.as_bytes()))
    ///             }
    ///             Ok(None) => Reconciled::NotDone,
    ///             Err(_) => Reconciled::Unknown,
    ///         }
    ///     })
    ///     .build();
    /// ```
    pub fn reconcile<F>(mut self, hook: impl Fn(LostRun) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Reconciled> + Send + 'static,
    {
        self.reconciler = Some(Box::new(move |lost| Box::pin(hook(lost))));
        self
    }

    /// Takes the place of every attribute's `lease`, so that an application can be tried out, or
    /// tested, without waiting for it. From 100 ms to an hour; what is beyond is taken for that.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease.clamp(SHORTEST, Duration::from_hours(1)));
        self
    }

    /// Takes the place of every attribute's `ttl`, so that an application can be tried out, or
    /// tested, without waiting for it. From 100 ms to 366 days; what is beyond is taken for that.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl.clamp(SHORTEST, Duration::from_hours(366 * 24)));
        self
    }

    /// Takes the place of every attribute's `on_lost`, so that an application can be tried out, or
    /// tested, with either.
    ///
    /// ```
    /// use idempotent_runtime::{Idempotency, MemoryStore, OnLost};
    ///
    /// let idempotency = Idempotency::builder(MemoryStore::default())
    ///     .on_lost(OnLost::Refuse)
    ///     .build();
    /// ```
    pub fn on_lost(mut self, on_lost: OnLost) -> Self {
        self.on_lost = Some(on_lost);
        self
    }

    /// Says on every response that is recorded, and on its replays, when the record expires:
    /// `Idempotency-Expires`, a date of HTTP (RFC 9110 §5.6.7). Until then the same key gets the
    /// same response; after it, the same key would run the handler again. Off unless set.
    ///
    /// The date is computed by this machine's clock when the handler has ended, and is kept with
    /// the record, so that replays say the very same; that takes 54 bytes of each. The record
    /// lives until then or a moment longer. Records that were made without this setting are
    /// replayed without a date.
    pub fn expires_header(mut self, is_on: bool) -> Self {
        self.tells_expiry = is_on;
        self
    }

    /// The runtime.
    ///
    /// Reads the environment: `IDEMPOTENCY_DISABLED=1` [turns protection off](Idempotency::disable).
    #[must_use]
    pub fn build(self) -> Idempotency {
        #[cfg(feature = "metrics")]
        crate::metrics::describe();
        Idempotency(Arc::new(Inner {
            store: self.store,
            namespace: self.namespace,
            problems: self.problems,
            #[cfg(any(feature = "axum", feature = "actix"))]
            scopes: self.scopes,
            max_waiting: self.max_waiting,
            waiting: AtomicUsize::new(0),
            releasing_late: AtomicUsize::new(0),
            owners: OwnerTokens::new(),
            running: AtomicUsize::new(0),
            detached: AtomicUsize::new(0),
            idle: Bell::new(),
            unprotected: AtomicU64::new(0),
            hook: self.hook,
            reconciler: self.reconciler,
            lease: self.lease,
            ttl: self.ttl,
            on_lost: self.on_lost,
            switch: Switch::from_env(),
            tells_expiry: self.tells_expiry,
        }))
    }
}

impl Inner {
    pub(crate) fn owner(&self) -> OwnerToken {
        self.owners.next()
    }

    /// A response that was not a handler's, with the date at which its record, made now, expires;
    /// where that is told.
    pub(crate) fn dated(&self, response: StoredResponse, ttl: Duration) -> StoredResponse {
        if self.tells_expiry && !response.is_value() {
            let date = expiry::date(ttl);
            response.with_header(IDEMPOTENCY_EXPIRES, date.as_bytes())
        } else {
            response
        }
    }

    /// What becomes of a lost run.
    pub(crate) fn on_lost(&self, policy: &Policy) -> OnLost {
        self.on_lost.unwrap_or(policy.on_lost)
    }

    /// The resolver of the scope with this id.
    #[cfg(any(feature = "axum", feature = "actix"))]
    pub(crate) fn resolver(&self, scope: u64) -> Option<&Resolver> {
        let named = self.scopes.iter().find(|named| named.id == scope)?;
        Some(&named.resolver)
    }

    /// Something that `drain` waits for, until it is dropped.
    pub(crate) fn running(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::SeqCst);
        Running(Arc::clone(self))
    }

    /// A place among those who may wait, or `None` when all are taken.
    pub(crate) fn start_waiting(self: &Arc<Self>) -> Option<Waiting> {
        let waiting = Waiting(Arc::clone(self));
        (self.waiting.fetch_add(1, Ordering::Relaxed) < self.max_waiting).then_some(waiting)
    }

    /// A place among those who go on freeing a key after its lease has ended, or `None` when all
    /// are taken.
    pub(crate) fn start_releasing_late(self: &Arc<Self>) -> Option<ReleasingLate> {
        let late = ReleasingLate(Arc::clone(self));
        (self.releasing_late.fetch_add(1, Ordering::Relaxed) < MAX_RELEASING_LATE).then_some(late)
    }

    /// A handler that runs on without its client, until this is dropped.
    pub(crate) fn detached(self: &Arc<Self>) -> Detached {
        self.detached.fetch_add(1, Ordering::Relaxed);
        Detached(Arc::clone(self))
    }

    /// Whether somebody wants to know of every request.
    pub(crate) fn is_observed(&self) -> bool {
        self.is_measured() || tracing::enabled!(tracing::Level::DEBUG)
    }

    /// Whether somebody wants to know how long things take.
    pub(crate) fn is_measured(&self) -> bool {
        cfg!(feature = "metrics") || self.hook.is_some()
    }

    /// Tells what happened to a request.
    pub(crate) fn report(
        &self,
        operation: Operation<'_>,
        record: Option<ShortHash>,
        outcome: Outcome,
        observation: Option<&Observation>,
    ) {
        if matches!(
            outcome,
            Outcome::Unprotected | Outcome::UnprotectedStoreDown | Outcome::UnprotectedDisabled
        ) {
            self.unprotected.fetch_add(1, Ordering::Relaxed);
        }
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    operation = %Joined(operation.label()),
                    record = record.map(tracing::field::display),
                    outcome = outcome.name(),
                    "idempotency",
                )
            };
        }
        match outcome {
            Outcome::Misconfigured => log!(error),
            Outcome::UnprotectedStoreDown
            | Outcome::UnprotectedDisabled
            | Outcome::Forgotten
            | Outcome::CompletedByHand
            | Outcome::StoreUnavailable
            | Outcome::StoreFull
            | Outcome::Fenced
            | Outcome::Abandoned
            | Outcome::CompletionDelayed => log!(warn),
            _ => log!(debug),
        }
        if let Some(observation) = observation {
            observation.outcome(outcome);
        }
        if self.is_measured() {
            let measures = observation.map_or_else(Measures::default, Observation::take);
            self.tell(&Event {
                operation: &operation.parts().concat(),
                label: &operation.label().concat(),
                record,
                outcome,
                handler_time: measures.handler_time,
                wait_time: measures.wait_time,
                response_bytes: measures.response_bytes,
            });
        }
    }

    fn tell(&self, event: &Event<'_>) {
        #[cfg(feature = "metrics")]
        crate::metrics::request(event);
        if let Some(hook) = &self.hook {
            hook(event);
        }
    }
}

/// What `drain` waits for.
pub(crate) struct Running(Arc<Inner>);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

/// A handler that runs on without its client.
pub(crate) struct Detached(Arc<Inner>);

impl Drop for Detached {
    fn drop(&mut self) {
        self.0.detached.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place among those who wait, given back on drop.
pub(crate) struct Waiting(Arc<Inner>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place among those who go on freeing a key, given back on drop.
pub(crate) struct ReleasingLate(Arc<Inner>);

impl Drop for ReleasingLate {
    fn drop(&mut self) {
        self.0.releasing_late.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The id by which a handler's type names its scope: FNV-1a of the name, never 0.
#[cfg(any(feature = "axum", feature = "actix"))]
#[must_use]
pub const fn scope_id(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut index = 0;
    while index < bytes.len() {
        hash ^= bytes[index] as u64;
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
        index += 1;
    }
    hash | 1
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
        runtime.field("namespace", &self.0.namespace);
        #[cfg(any(feature = "axum", feature = "actix"))]
        {
            let scopes: Vec<&str> = self.0.scopes.iter().map(|scope| &*scope.name).collect();
            runtime.field("scopes", &scopes);
        }
        runtime
            .field("running", &self.running())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for IdempotencyBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("IdempotencyBuilder")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
