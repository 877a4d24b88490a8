//! Each system as its own documentation sets it up, with its records in this process's memory.

pub(crate) mod actix;
pub(crate) mod axum;
mod sessions;

use idempotent_runtime::{Idempotency, MemoryStore, scopes};

/// Whose keys they are, for the systems that are told by a header.
pub(crate) const CALLER: &str = "x-user";

/// This framework, with room for a million records.
fn idempotency() -> Idempotency {
    let store = MemoryStore::builder()
        .max_entries(10_000_000)
        .max_bytes(16 << 30)
        .build();
    Idempotency::builder(store)
        .scope("user", scopes::header(CALLER))
        .build()
}
