use idempotent_runtime::idempotent;

#[idempotent(scope = "global", max_response = 1024)]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
