//! The protocol as plain functions over plain data: no I/O, no clock, no async, no framework.
//!
//! Three questions are answered here, and every rule about a key, a record or an outcome is part
//! of one of the answers: what to ask the store for a request ([`ask`](protocol::ask)), what to
//! do with the store's answer ([`decide`](protocol::decide)), and what to do with the handler's
//! outcome ([`conclude`](protocol::conclude)).

pub(crate) mod durable;
pub(crate) mod fingerprint;
pub(crate) mod key;
pub(crate) mod policy;
pub(crate) mod problem;
pub mod protocol;
pub(crate) mod record;
pub(crate) mod response;
pub(crate) mod scope;
pub(crate) mod value;
