use idempotent_runtime::idempotent;

#[idempotent(scope = "global", max_response = "0B")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
