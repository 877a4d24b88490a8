use idempotent_runtime::idempotent;

#[idempotent(scope = "global", ttl = "24x")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
