use idempotent_runtime::idempotent;

#[idempotent(scope = "global", max_response = "4GiB")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
