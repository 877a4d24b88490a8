use idempotent_runtime::idempotent;

#[idempotent(scope = "global", ttl = "367d")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
