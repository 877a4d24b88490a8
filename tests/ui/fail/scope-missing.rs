use idempotent_runtime::idempotent;

#[idempotent(ttl = "1h")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
