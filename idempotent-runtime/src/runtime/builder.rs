//! What is set before a runtime is built.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use super::{Idempotency, Inner, OwnerTokens, counts::Counts};
#[cfg(any(feature = "axum", feature = "actix"))]
use crate::web::RequestHead;
use crate::{
    any_store::AnyStore,
    core::{policy::OnLost, problem::ProblemSettings},
    event::Event,
    operator::Switch,
    reconcile::{LostRun, Reconciled, Reconciler},
};

/// Sets up an [`Idempotency`].
#[must_use]
pub struct IdempotencyBuilder {
    store: Box<dyn AnyStore>,
    settings: Settings,
}

/// What is set before a runtime is built.
pub(crate) struct Settings {
    pub(crate) namespace: String,
    pub(crate) problems: ProblemSettings,
    #[cfg(any(feature = "axum", feature = "actix"))]
    pub(super) scopes: Vec<NamedScope>,
    pub(super) max_waiting: usize,
    pub(super) hook: Option<Hook>,
    pub(crate) reconciler: Option<Reconciler>,
    pub(crate) lease: Option<Duration>,
    pub(crate) ttl: Option<Duration>,
    pub(super) on_lost: Option<OnLost>,
    /// Whether responses say when their record expires.
    pub(crate) tells_expiry: bool,
}

pub(super) type Hook = Box<dyn Fn(&Event<'_>) + Send + Sync>;

#[cfg(any(feature = "axum", feature = "actix"))]
pub(crate) type Resolver = Box<dyn Fn(&RequestHead<'_>) -> Option<String> + Send + Sync>;

#[cfg(any(feature = "axum", feature = "actix"))]
pub(super) struct NamedScope {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) resolver: Resolver,
}

/// The shortest lease and ttl that can be set at run time.
pub(crate) const SHORTEST: Duration = Duration::from_millis(100);

impl IdempotencyBuilder {
    pub(super) fn over(store: Box<dyn AnyStore>) -> Self {
        Self {
            store,
            settings: Settings {
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
            },
        }
    }

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
        self.settings.scopes.retain(|scope| scope.name != name);
        self.settings.scopes.push(NamedScope {
            id: scope_id(&name),
            name,
            resolver: Box::new(resolver),
        });
        self
    }

    /// Keeps the records of this application apart from others in the same store. Empty unless
    /// set; changing it forgets every record.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.settings.namespace = namespace.into();
        self
    }

    /// What the `type` of a problem document starts with; `urn:problem:idempotency:` unless set.
    pub fn problem_base(mut self, base: impl Into<String>) -> Self {
        self.settings.problems.base = base.into();
        self
    }

    /// Where the API's clients can read about its use of keys. Problem documents link there
    /// (`Link: <…>; rel="describedby"`).
    pub fn documentation(mut self, address: impl Into<String>) -> Self {
        self.settings.problems.documentation = Some(address.into());
        self
    }

    /// How many requests may wait for a running one at the same time (`wait = "…"`); those
    /// beyond are answered 409 `in-flight` at once. 1024 unless set.
    pub fn max_waiting(mut self, requests: usize) -> Self {
        self.settings.max_waiting = requests;
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
        self.settings.hook = Some(Box::new(hook));
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
        self.settings.reconciler = Some(Box::new(move |lost| Box::pin(hook(lost))));
        self
    }

    /// Takes the place of every attribute's `lease`, so that an application can be tried out, or
    /// tested, without waiting for it. From 100 ms to an hour; what is beyond is taken for that.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = Some(lease.clamp(SHORTEST, Duration::from_hours(1)));
        self
    }

    /// Takes the place of every attribute's `ttl`, so that an application can be tried out, or
    /// tested, without waiting for it. From 100 ms to 366 days; what is beyond is taken for that.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.settings.ttl = Some(ttl.clamp(SHORTEST, Duration::from_hours(366 * 24)));
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
        self.settings.on_lost = Some(on_lost);
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
        self.settings.tells_expiry = is_on;
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
            settings: self.settings,
            owners: OwnerTokens::new(),
            counts: Counts::default(),
            switch: Switch::from_env(),
        }))
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

impl fmt::Debug for IdempotencyBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("IdempotencyBuilder")
            .field("namespace", &self.settings.namespace)
            .finish_non_exhaustive()
    }
}
