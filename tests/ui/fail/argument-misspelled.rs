use idempotent_runtime::idempotent;

#[idempotent(scope = "global", tll = "1h")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
