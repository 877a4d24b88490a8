use idempotent_runtime::idempotent;

#[idempotent(scope = "global", key = "requierd")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
