use idempotent_runtime::idempotent;

#[idempotent(scope = "global", key = "derived", fingerprint = "none")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
