use idempotent_runtime::idempotent;

#[idempotent(scope = "global")]
async fn pay() -> u64 {
    7
}

fn main() {}
