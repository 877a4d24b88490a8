//! What the example applications `axum-payments` and `actix-payments` have in common, so that
//! each shows only what belongs to its framework: the payments and orders themselves, how a
//! request can be refused, the settings, the logs, the metrics, and when to stop.
//!
//! Nothing here knows of a web framework, and of idempotency only that a request's record can be
//! written in a [`LedgerTransaction`]. It stands where an application has its database and its
//! own types.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod book;
mod database;
mod demo;
mod documentation;
mod logs;
mod metrics;
mod open;
mod page;
mod refusal;
mod settings;
mod shutdown;
mod transaction;

pub use crate::{
    book::{Book, Entry, Ledger, NewEntry, Status},
    demo::{Demo, Receipt},
    documentation::{Credentials, EntryRefusals, ReadRefusals},
    logs::log_to_stderr,
    metrics::{METRICS_TYPE, Metrics},
    open::Store,
    page::{Asset, AssetResponse, PAGE},
    refusal::{ErrorBody, Refusal, caller},
    settings::{Address, AdminToken, Place, Settings, StartError, exit_code},
    shutdown::{until_stop, within_grace},
    transaction::LedgerTransaction,
};
