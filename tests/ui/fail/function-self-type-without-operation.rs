use idempotent_runtime::{Idempotency, OnceError, idempotent};

struct Consumer;

impl Consumer {
    const FEE: u64 = 1;

    #[idempotent(runtime = idempotency, key = id, scope = "global")]
    async fn on_paid(idempotency: Idempotency, id: u64) -> Result<u64, OnceError> {
        let _ = idempotency;
        Ok(id + Self::FEE)
    }
}

fn main() {}
