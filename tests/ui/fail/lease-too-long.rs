use idempotent_runtime::idempotent;

#[idempotent(scope = "global", lease = "2h")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
