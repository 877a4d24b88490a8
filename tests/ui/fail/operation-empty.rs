use idempotent_runtime::idempotent;

#[idempotent(scope = "global", operation = " ")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
