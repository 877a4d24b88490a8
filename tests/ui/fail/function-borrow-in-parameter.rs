use std::borrow::Cow;

use idempotent_runtime::{Idempotency, OnceError, idempotent};

#[idempotent(runtime = idempotency, key = id, scope = "global")]
async fn on_paid(idempotency: Idempotency, id: Cow<'_, str>) -> Result<String, OnceError> {
    let _ = idempotency;
    Ok(id.into_owned())
}

fn main() {}
