use idempotent_runtime::idempotent;

#[idempotent(scope = "global", operation = 7)]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
