use idempotent_runtime::idempotent;

#[idempotent(scope = "global")]
async fn pay(#[cfg(unix)] payment: String) -> String {
    payment
}

fn main() {}
