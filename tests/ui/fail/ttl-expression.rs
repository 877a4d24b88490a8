use idempotent_runtime::idempotent;

#[idempotent(scope = "global", ttl = ONE_DAY)]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
