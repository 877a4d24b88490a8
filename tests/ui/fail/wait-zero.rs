use idempotent_runtime::idempotent;

#[idempotent(scope = "global", wait = "0s")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
