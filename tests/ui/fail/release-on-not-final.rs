use idempotent_runtime::idempotent;

#[idempotent(scope = "global", release_on(429, 100))]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
