//! Functions that are no handlers: what the protocol promises to a caller of `Idempotency::once`,
//! and of a function with the attribute, on every store.

#![allow(clippy::unwrap_used)]

mod attribute;
mod beside_handlers;
mod calls;
mod commit_in;
mod faults;
mod lost;
mod operators;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use idempotent_runtime::{
    Idempotency, IdempotencyBuilder, MemoryStore, OnceBuilder, Outcome, Scope,
};
use idempotent_tests::{Kind, Place, Steered, World, logs, namespace};

/// A process that calls functions.
struct Caller {
    idempotency: Idempotency,
    store: Steered,
    world: World,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    place: Place,
}

impl Caller {
    async fn on(kind: Kind) -> Self {
        let place = Place::new(kind, namespace());
        let store = Steered::on(place.open().await);
        Self::over(store, place, |builder| builder)
    }

    /// On the memory store, with claims that must be renewed.
    fn with_lease() -> Self {
        let store = Steered::with_lease(MemoryStore::default());
        Self::over(store, Place::new(Kind::Memory, namespace()), |builder| {
            builder
        })
    }

    fn configured(configure: impl FnOnce(IdempotencyBuilder) -> IdempotencyBuilder) -> Self {
        let store = Steered::new(MemoryStore::default());
        Self::over(store, Place::new(Kind::Memory, namespace()), configure)
    }

    fn over(
        store: Steered,
        place: Place,
        configure: impl FnOnce(IdempotencyBuilder) -> IdempotencyBuilder,
    ) -> Self {
        logs::keep();
        let outcomes = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&outcomes);
        let builder = Idempotency::builder(store.clone())
            .namespace(place.namespace.clone())
            .on_event(move |event| told.lock().unwrap().push(event.outcome));
        Self {
            idempotency: configure(builder).build(),
            store,
            world: World::default(),
            outcomes,
            place,
        }
    }

    /// Another process on the same store, in the same world.
    async fn beside(&self, kind: Kind) -> Self {
        let store = match kind {
            Kind::Memory => self.store.clone(),
            _ => Steered::on(self.place.open().await),
        };
        let mut other = Self::over(store, self.place.clone(), |builder| builder);
        other.world = self.world.clone();
        other
    }

    fn call(&self) -> OnceBuilder {
        self.idempotency.once("charge", Scope::global(), "k.hushed")
    }

    /// A function with an effect, whose number it returns, behind a gate.
    fn behind(&self, gate: &'static str) -> impl Future<Output = usize> + Send + 'static {
        let world = self.world.clone();
        async move {
            world.enter();
            world.pass(gate).await;
            world.act()
        }
    }

    /// A function with an effect, whose number it returns.
    fn effect(&self) -> impl Future<Output = usize> + Send + 'static {
        let world = self.world.clone();
        async move { world.act() }
    }

    fn outcomes(&self) -> Vec<Outcome> {
        self.outcomes.lock().unwrap().clone()
    }
}

/// Longer than anything that a test waits for.
const LONG: Duration = Duration::from_mins(1);

/// A test of each function on each store, such as `memory::name`.
#[macro_export]
macro_rules! on_every_store {
    ($($(#[$attribute:meta])* async fn $name:ident($kind:ident: Kind) $body:block)*) => {
        $($(#[$attribute])* async fn $name($kind: Kind) $body)*

        $crate::on_every_store! { @on memory, Memory, [], $($name)* }
        $crate::on_every_store! { @on near_cache, NearCache, [], $($name)* }
        $crate::on_every_store! { @on encrypted, Encrypted, [], $($name)* }
        $crate::on_every_store! { @on sqlite, Sqlite, [], $($name)* }
        $crate::on_every_store! { @on postgres, Postgres,
            [ignore = "needs a PostgreSQL server: POSTGRES_URL, or tests/run"], $($name)* }
        $crate::on_every_store! { @on redis, Redis,
            [ignore = "needs a Redis server: REDIS_URL, or tests/run"], $($name)* }
    };
    (@on $module:ident, $kind:ident, $ignored:tt, $($name:ident)*) => {
        mod $module {
            $($crate::on_every_store! { @one $kind, $ignored, $name })*
        }
    };
    (@one $kind:ident, [$($ignored:meta)?], $name:ident) => {
        #[tokio::test]
        $(#[$ignored])?
        async fn $name() {
            super::$name(idempotent_tests::Kind::$kind).await;
        }
    };
}
