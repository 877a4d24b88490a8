use idempotent_runtime::idempotent;

#[idempotent(scope = "global")]
#[idempotent(scope = "user")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
