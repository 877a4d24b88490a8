use idempotent_runtime::idempotent;

#[idempotent(scope = "global", ttl =)]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
