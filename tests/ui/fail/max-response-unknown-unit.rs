use idempotent_runtime::idempotent;

#[idempotent(scope = "global", max_response = "1 MeB")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
