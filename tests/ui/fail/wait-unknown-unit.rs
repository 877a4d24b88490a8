use idempotent_runtime::idempotent;

#[idempotent(scope = "global", wait = "5 sec.")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
