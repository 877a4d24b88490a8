//! A server of either framework, with everything a test wants to see of it.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use idempotent_runtime::{
    Idempotency, IdempotencyBuilder, ManualClock, MemoryStore, Outcome, scopes,
};

use crate::{
    at_rest::AtRest,
    backend::{Kind, Place},
    client::Request,
    extract::Verified,
    hush, logs, metrics,
    proxy::Proxy,
    server::{Server, Wiring},
    store::{Steered, Verb},
    world::World,
};

/// What an operator's requests carry as their bearer token.
pub const OPERATOR: &str = "hush-operator";

/// Which framework a test talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framework {
    /// axum
    Axum,
    /// actix-web
    Actix,
}

impl Framework {
    /// A server with everything as it comes, but for the store's clock, which stands still.
    pub async fn start(self) -> App {
        self.setup().start().await
    }

    /// What a server is to be like.
    pub fn setup(self) -> Setup {
        let clock = ManualClock::default();
        let memory = MemoryStore::builder().clock(clock.clone()).build();
        Setup {
            framework: self,
            store: Steered::new(memory),
            place: None,
            clock,
            runtime: true,
            body_limit: None,
            cors: false,
            configure: None,
        }
    }
}

/// Which framework a test talks to, on which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Setting {
    /// The framework.
    pub framework: Framework,
    /// The store.
    pub store: Kind,
}

impl Setting {
    /// A server with everything as it comes, on a store without records.
    pub async fn start(self) -> App {
        self.setup().start().await
    }

    /// What a server is to be like.
    pub fn setup(self) -> Setup {
        let mut setup = self.framework.setup();
        if self.store != Kind::Memory {
            setup.place = Some(Place::new(self.store, namespace()));
        }
        setup
    }
}

/// What a server is to be like.
#[must_use]
#[allow(missing_debug_implementations)]
pub struct Setup {
    framework: Framework,
    store: Steered,
    /// A store of this kind in the place of `store`.
    place: Option<Place>,
    clock: ManualClock,
    runtime: bool,
    body_limit: Option<usize>,
    cors: bool,
    configure: Option<Configure>,
}

type Configure = Arc<dyn Fn(IdempotencyBuilder) -> IdempotencyBuilder>;

impl Setup {
    /// On this store. It is given the clock of the setup.
    pub fn store(mut self, store: impl FnOnce(ManualClock) -> Steered) -> Self {
        self.store = store(self.clock.clone());
        self
    }

    /// With a wire to the store's server that can be cut.
    ///
    /// # Panics
    ///
    /// The store has no server.
    pub async fn behind_proxy(mut self) -> (Self, Proxy) {
        let place = self.place.as_mut().expect("a store that has a server");
        let proxy = place.behind_proxy().await;
        (self, proxy)
    }

    /// With a router that has no runtime.
    pub fn without_runtime(mut self) -> Self {
        self.runtime = false;
        self
    }

    /// With a limit for the bodies of requests, set the framework's own way.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = Some(bytes);
        self
    }

    /// With the CORS policy that the documentation tells, for `https://shop.example`.
    pub fn cors(mut self) -> Self {
        self.cors = true;
        self
    }

    /// With other settings of the runtime.
    pub fn configure(
        mut self,
        configure: impl Fn(IdempotencyBuilder) -> IdempotencyBuilder + 'static,
    ) -> Self {
        self.configure = Some(Arc::new(configure));
        self
    }

    /// Starts the server.
    pub async fn start(self) -> App {
        logs::keep();
        metrics::keep();
        let world = World::default();
        let (store, namespace) = match &self.place {
            None => (self.store, String::new()),
            Some(place) => {
                if let Some(database) = place.database().await {
                    world.use_database(database, &place.namespace);
                }
                (Steered::on(place.open().await), place.namespace.clone())
            }
        };
        Self { store, ..self }.start_in(world, namespace).await
    }

    /// Starts the server in a world that is there.
    async fn start_in(self, world: World, namespace: String) -> App {
        let events = Events::default();
        let heard = events.clone();
        let store = self.store;
        let mut builder = Idempotency::builder(store.clone())
            .namespace(namespace)
            .scope("user", |request| {
                request.header("x-user").map(str::to_owned)
            })
            .scope("device", scopes::header("x-device"))
            .scope("bearer", scopes::bearer_token())
            .scope("verified", scopes::extension(|Verified(who)| who.clone()))
            .scope("path", |request| {
                Some(format!("{} {}", request.method(), request.path()))
            })
            .on_event(move |event| {
                heard.0.lock().unwrap().push(Heard {
                    operation: event.operation.to_owned(),
                    record: event.record.map(|record| record.to_string()),
                    outcome: event.outcome,
                });
            });
        if let Some(configure) = &self.configure {
            builder = configure(builder);
        }
        let idempotency = builder.build();
        let wiring = Wiring {
            framework: self.framework,
            idempotency: self.runtime.then(|| idempotency.clone()),
            world: world.clone(),
            body_limit: self.body_limit,
            cors: self.cors,
        };
        let server = Server::start(wiring.clone()).await;
        App {
            world,
            idempotency,
            store,
            clock: self.clock,
            events,
            place: self.place,
            configure: self.configure,
            wiring,
            server,
        }
    }
}

/// One that no other test and no earlier run has, because stores are shared.
#[must_use]
pub fn namespace() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{}-{next}", std::process::id(), started.as_nanos())
}

/// A running server.
pub struct App {
    /// What its handlers do to the world.
    pub world: World,
    /// Its runtime.
    pub idempotency: Idempotency,
    /// Its store.
    pub store: Steered,
    /// Its store's clock.
    pub clock: ManualClock,
    /// What its runtime told.
    pub events: Events,
    place: Option<Place>,
    configure: Option<Configure>,
    wiring: Wiring,
    server: Server,
}

impl fmt::Debug for App {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("App")
            .field("world", &self.world)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

impl App {
    /// A request to it.
    pub fn request(&self, method: &str, target: &str) -> Request {
        Request::new(self.server.address, method, target)
    }

    /// A POST to it.
    pub fn post(&self, target: &str) -> Request {
        self.request("POST", target)
    }

    /// A request of an operator to it.
    pub fn operator(&self, method: &str, path: &str) -> Request {
        self.request(method, &format!("/admin/idempotency/{path}"))
            .header("authorization", format!("Bearer {OPERATOR}"))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Another server on the same store, in the same world, with a runtime and connections of its
    /// own: what another process has.
    ///
    /// # Panics
    ///
    /// The store cannot be shared.
    pub async fn sibling(&self) -> Self {
        let place = self.place.clone().expect("a store that can be shared");
        let setup = Setup {
            store: Steered::on(place.open().await),
            configure: self.configure.clone(),
            ..self.wiring.framework.setup()
        };
        let namespace = place.namespace.clone();
        setup.start_in(self.world.clone(), namespace).await
    }

    /// The record that was claimed last, as it lies in the store.
    ///
    /// # Panics
    ///
    /// The store cannot be shared, or nothing was claimed.
    pub async fn at_rest(&self) -> AtRest {
        let place = self.place.as_ref().expect("a store that can be shared");
        let claims = self.store.calls(Verb::Claim);
        let (_, claim) = claims.last().expect("a claim");
        AtRest::find(place, claim.id).await
    }

    /// Ends the server with all that runs in it, as when a process is stopped; and starts
    /// another one with the same runtime and store.
    pub async fn restart(&mut self) {
        let next = Server::start(self.wiring.clone()).await;
        let mut previous = std::mem::replace(&mut self.server, next);
        tokio::task::spawn_blocking(move || previous.stop())
            .await
            .unwrap();
    }
}

/// Whatever a test has done, nothing of it was told.
impl Drop for App {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            hush::check("the runtime's Debug", &format!("{:?}", self.idempotency));
            metrics::all();
        }
    }
}

/// What a runtime told.
#[derive(Clone, Debug, Default)]
pub struct Events(Arc<Mutex<Vec<Heard>>>);

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Which operation.
    pub operation: String,
    /// The hash of the record id.
    pub record: Option<String>,
    /// What happened.
    pub outcome: Outcome,
}

impl Events {
    /// All so far.
    #[must_use]
    pub fn all(&self) -> Vec<Heard> {
        self.0.lock().unwrap().clone()
    }

    /// The outcomes so far.
    #[must_use]
    pub fn outcomes(&self) -> Vec<Outcome> {
        self.all().into_iter().map(|heard| heard.outcome).collect()
    }

    /// How often this came.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.outcomes()
            .into_iter()
            .filter(|one| *one == outcome)
            .count()
    }
}
