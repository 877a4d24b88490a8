use idempotent_runtime::{Idempotency, OnceError, idempotent};

#[idempotent(runtime = idempotency, key = id, scope = "global", release_on(503))]
async fn on_paid(idempotency: Idempotency, id: u64) -> Result<u64, OnceError> {
    let _ = idempotency;
    Ok(id)
}

fn main() {}
