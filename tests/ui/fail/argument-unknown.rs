use idempotent_runtime::idempotent;

#[idempotent(scope = "global", color = "red")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
