use idempotent_runtime::{OnceError, idempotent};

#[idempotent(runtime = id, key = id, scope = "global")]
async fn on_paid(id: u64) -> Result<u64, OnceError> {
    Ok(id)
}

fn main() {}
