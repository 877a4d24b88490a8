use idempotent_runtime::idempotent;

#[idempotent(scope = "global", ttl = "1y")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
