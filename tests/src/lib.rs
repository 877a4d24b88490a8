//! Support for the suite: a client that controls every byte, a server of either framework, and
//! handlers that do in both what a request tells them.
//!
//! A test is written once. [`both!`] makes two of it, one for each framework, on the memory store
//! with its faults and its clock; [`every!`] makes one for each framework on each store.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate
)]

pub mod app;
pub mod at_rest;
pub mod backend;
pub mod client;
pub mod database;
pub mod example;
mod extract;
pub mod handlers;
pub mod http2;
pub mod hush;
pub mod logs;
pub mod metrics;
mod perform;
pub mod proxy;
mod server;
pub mod store;
pub mod wait;
pub mod world;

pub use crate::{
    app::{App, Framework, OPERATOR, Setting, Setup, namespace},
    backend::{Kind, Place},
    client::{Connection, Request, Response},
    http2::Http2,
    store::{Fault, Steered, Verb},
    wait::{eventually, soon},
    world::{Panics, Plan, Streaming, Transact, World},
};

/// Makes two tests, `axum_alone::name` and `actix_alone::name`, of each function.
#[macro_export]
macro_rules! both {
    ($(
        $(#[$attribute:meta])*
        async fn $name:ident($framework:ident: Framework $(,)?) $body:block
    )*) => {
        $($(#[$attribute])* async fn $name($framework: $crate::Framework) $body)*

        mod axum_alone {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::Framework::Axum).await;
            })*
        }

        mod actix_alone {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::Framework::Actix).await;
            })*
        }
    };
}

/// Makes a test for each framework on each store of each function, such as `axum::memory::name`.
/// Those whose store needs a server are ignored unless asked for.
#[macro_export]
macro_rules! every {
    ($($tests:tt)*) => {
        $crate::tests_on! { on_every_store, $($tests)* }
    };
}

/// As [`every!`], on the stores that outlive a process.
#[macro_export]
macro_rules! shared {
    ($($tests:tt)*) => {
        $crate::tests_on! { on_shared_stores, $($tests)* }
    };
}

/// As [`every!`], on the stores whose records outlive a process, in every form that they have there.
#[macro_export]
macro_rules! durable {
    ($($tests:tt)*) => {
        $crate::tests_on! { on_durable_stores, $($tests)* }
    };
}

/// As [`every!`], on the stores that have transactions.
#[macro_export]
macro_rules! transactional {
    ($($tests:tt)*) => {
        $crate::tests_on! { on_databases, $($tests)* }
    };
}

/// As [`every!`], on the stores that have a server.
#[macro_export]
macro_rules! served {
    ($($tests:tt)*) => {
        $crate::tests_on! { on_servers, $($tests)* }
    };
}

/// The functions, and for each framework the tests that call them on these stores.
#[doc(hidden)]
#[macro_export]
macro_rules! tests_on {
    ($stores:ident, $(
        $(#[$attribute:meta])*
        async fn $name:ident($setting:ident: Setting $(,)?) $body:block
    )*) => {
        $($(#[$attribute])* async fn $name($setting: $crate::Setting) $body)*

        mod axum {
            $crate::$stores!(Axum, $($name)*);
        }

        mod actix {
            $crate::$stores!(Actix, $($name)*);
        }
    };
}

/// The part of [`shared!`] for one framework.
#[doc(hidden)]
#[macro_export]
macro_rules! on_shared_stores {
    ($framework:ident, $($name:ident)*) => {
        mod sqlite {
            $crate::on_store!($framework, Sqlite, [], $($name)*);
        }
        $crate::on_servers!($framework, $($name)*);
    };
}

/// The part of [`durable!`] for one framework.
#[doc(hidden)]
#[macro_export]
macro_rules! on_durable_stores {
    ($framework:ident, $($name:ident)*) => {
        mod near_cache {
            $crate::on_store!($framework, NearCache, [], $($name)*);
        }
        mod encrypted {
            $crate::on_store!($framework, Encrypted, [], $($name)*);
        }
        $crate::on_shared_stores!($framework, $($name)*);
    };
}

/// The part of [`served!`] for one framework.
#[doc(hidden)]
#[macro_export]
macro_rules! on_servers {
    ($framework:ident, $($name:ident)*) => {
        mod postgres {
            $crate::on_store!($framework, Postgres, [
                ignore = "needs a PostgreSQL server: POSTGRES_URL, or tests/run"
            ], $($name)*);
        }
        mod redis {
            $crate::on_store!($framework, Redis, [
                ignore = "needs a Redis server: REDIS_URL, or tests/run"
            ], $($name)*);
        }
    };
}

/// The part of [`transactional!`] for one framework.
#[doc(hidden)]
#[macro_export]
macro_rules! on_databases {
    ($framework:ident, $($name:ident)*) => {
        mod sqlite {
            $crate::on_store!($framework, Sqlite, [], $($name)*);
        }
        mod encrypted {
            $crate::on_store!($framework, Encrypted, [], $($name)*);
        }
        mod near_cache {
            $crate::on_store!($framework, NearCache, [], $($name)*);
        }
        mod postgres {
            $crate::on_store!($framework, Postgres, [
                ignore = "needs a PostgreSQL server: POSTGRES_URL, or tests/run"
            ], $($name)*);
        }
    };
}

/// The part of [`every!`] for one framework.
#[doc(hidden)]
#[macro_export]
macro_rules! on_every_store {
    ($framework:ident, $($name:ident)*) => {
        mod memory {
            $crate::on_store!($framework, Memory, [], $($name)*);
        }
        mod near_cache {
            $crate::on_store!($framework, NearCache, [], $($name)*);
        }
        mod encrypted {
            $crate::on_store!($framework, Encrypted, [], $($name)*);
        }
        $crate::on_shared_stores!($framework, $($name)*);
    };
}

/// The part of [`every!`] for one framework and one store.
#[doc(hidden)]
#[macro_export]
macro_rules! on_store {
    ($framework:ident, $kind:ident, $ignored:tt, $($name:ident)*) => {
        $($crate::on_store! { @one $framework, $kind, $ignored, $name })*
    };
    (@one $framework:ident, $kind:ident, [$($ignored:meta)?], $name:ident) => {
        #[tokio::test]
        $(#[$ignored])?
        async fn $name() {
            super::super::$name($crate::Setting {
                framework: $crate::Framework::$framework,
                store: $crate::Kind::$kind,
            })
            .await;
        }
    };
}
