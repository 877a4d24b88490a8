use idempotent_runtime::idempotent;

#[idempotent(scope = "global", lease = "30")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
