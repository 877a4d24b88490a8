use idempotent_runtime::idempotent;

#[idempotent(scope = "global", "24h")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
