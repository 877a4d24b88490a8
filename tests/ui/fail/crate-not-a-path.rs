use idempotent_runtime::idempotent;

#[idempotent(scope = "global", crate = "my runtime")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
