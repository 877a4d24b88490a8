use idempotent_runtime::idempotent;

#[idempotent(scope = "global", wait = "6m")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
