use idempotent_runtime::idempotent;

#[idempotent(scope = "global")]
async fn pay(payment: &str) -> String {
    payment.to_owned()
}

fn main() {}
