use idempotent_runtime::idempotent;

#[idempotent(scope = "global")]
impl Payments {
    async fn pay() -> &'static str {
        "paid"
    }
}

struct Payments;

fn main() {}
