use idempotent_runtime::{Idempotency, idempotent};

struct Error;

#[idempotent(runtime = idempotency, key = id, scope = "global")]
async fn on_paid(idempotency: Idempotency, id: u64) -> Result<u64, Error> {
    let _ = idempotency;
    Ok(id)
}

fn main() {}
