use idempotent_runtime::idempotent;

#[idempotent(scope = "global", store_down = "fail")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
