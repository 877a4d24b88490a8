use idempotent_runtime::idempotent;

#[idempotent(scope = "global", ttl = "24")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
