use idempotent_runtime::idempotent;

#[idempotent(scope = "global", ttl = "5M")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
