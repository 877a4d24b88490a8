use idempotent_runtime::idempotent;

#[idempotent(scope = "global", release_on(3xx))]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
