//! Support for the suite: a client that controls every byte, a server of either framework, and
//! handlers that do in both what a request tells them.
//!
//! A test is written once, with the framework as its argument, and [`both!`] makes two of it.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate
)]

pub mod app;
pub mod client;
pub mod handlers;
pub mod logs;
pub mod store;
pub mod wait;
pub mod world;

pub use crate::{
    app::{App, Framework, Setup},
    client::{Connection, Request, Response},
    store::{Fault, Steered, Verb},
    wait::{eventually, soon},
    world::{Panics, Plan, Streaming, World},
};

/// Makes two tests, `axum::name` and `actix::name`, of each function.
#[macro_export]
macro_rules! both {
    ($(
        $(#[$attribute:meta])*
        async fn $name:ident($framework:ident: Framework $(,)?) $body:block
    )*) => {
        $($(#[$attribute])* async fn $name($framework: $crate::Framework) $body)*

        mod axum {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::Framework::Axum).await;
            })*
        }

        mod actix {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::Framework::Actix).await;
            })*
        }
    };
}
