use idempotent_runtime::idempotent;

struct Payments;

impl Payments {
    #[idempotent(
        ttl = "24x",
        waitt = "5s",
        key = "maybe",
        key = "derived",
        release_on(429, 1000, all),
        max_response = "1MB",
        lease = "0s"
    )]
    fn pay(&self, payment: String) -> String {
        payment
    }
}

fn main() {}
