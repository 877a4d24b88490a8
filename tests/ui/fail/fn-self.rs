use idempotent_runtime::idempotent;

struct Payments {
    currency: String,
}

impl Payments {
    #[idempotent(scope = "global")]
    async fn pay(&self) -> String {
        self.currency.clone()
    }
}

fn main() {}
