use idempotent_runtime::{Idempotency, idempotent};

#[idempotent(runtime = idempotency, key = id, scope = "global")]
async fn on_paid(idempotency: Idempotency, id: u64) -> u64 {
    let _ = idempotency;
    id
}

fn main() {}
