use idempotent_runtime::idempotent;

#[idempotent(scope = "global", ttl = "999ms")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
