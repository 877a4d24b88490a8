use idempotent_runtime::idempotent;

#[idempotent(scope = user., ttl = "1h")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
