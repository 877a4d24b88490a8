use idempotent_runtime::idempotent;

#[idempotent(scope = "global", lease = "500ms")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
