use idempotent_runtime::{Idempotency, OnceError, idempotent};

struct Consumer(Idempotency);

impl Consumer {
    #[idempotent(runtime = self.0, key = id, scope = "global", operation = "on paid")]
    async fn on_paid(&self, id: u64) -> Result<u64, OnceError> {
        Ok(id)
    }
}

fn main() {}
