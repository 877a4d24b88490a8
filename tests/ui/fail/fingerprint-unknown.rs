use idempotent_runtime::idempotent;

#[idempotent(scope = "global", fingerprint = "body")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
