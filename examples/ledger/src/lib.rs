//! What the example applications `axum-payments` and `actix-payments` have in common, so that
//! each shows only what belongs to its framework: the payments and orders themselves, how a
//! request can be refused, the settings, the logs, and when to stop.
//!
//! Nothing here knows of a web framework or of idempotency. It stands where an application has
//! its database and its own types.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod book;
mod demo;
mod logs;
mod refusal;
mod settings;
mod shutdown;

pub use crate::{
    book::{Book, Entry, Ledger, NewEntry, Status},
    demo::{Demo, Receipt},
    logs::log_to_stderr,
    refusal::{ErrorBody, Refusal, caller},
    settings::{Settings, StartError, Store, exit_code},
    shutdown::{until_stop, within_grace},
};
