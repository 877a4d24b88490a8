//! What the protocol promises, over real sockets, in both frameworks. The tests are named by the
//! section of the protocol whose rule they check; there is a file for each argument of the
//! attribute and for each other topic.

#![allow(clippy::unwrap_used)]

mod admin;
mod away;
mod commit_in;
mod contract;
mod damage;
mod execution;
mod fingerprint;
mod http2;
mod key;
mod late;
mod limits;
mod operation;
mod operator;
mod order;
mod problems;
mod reconcile;
mod recording;
mod running;
mod scope;
mod secrets;
mod shared;
mod spans;
mod store;
mod switch;
mod unreadable;
mod used_up;
mod visible;
mod wait;
mod wrapped;
