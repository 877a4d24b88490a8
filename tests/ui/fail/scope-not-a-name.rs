use idempotent_runtime::idempotent;

#[idempotent(scope = "the user")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
