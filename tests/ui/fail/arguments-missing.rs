use idempotent_runtime::idempotent;

#[idempotent()]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
