use idempotent_runtime::idempotent;

#[idempotent(scope = "global", ttl = "1h", ttl = "2h")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
