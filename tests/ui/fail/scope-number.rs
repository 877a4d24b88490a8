use idempotent_runtime::idempotent;

#[idempotent(scope = 1)]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
