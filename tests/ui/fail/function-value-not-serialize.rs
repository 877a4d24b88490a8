use idempotent_runtime::{Idempotency, OnceError, idempotent};

struct Receipt;

#[idempotent(runtime = idempotency, key = id, scope = "global")]
async fn on_paid(idempotency: Idempotency, id: u64) -> Result<Receipt, OnceError> {
    let _ = idempotency;
    Ok(Receipt)
}

fn main() {}
