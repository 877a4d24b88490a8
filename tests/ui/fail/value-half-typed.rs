use idempotent_runtime::idempotent;

#[idempotent(scope = user.)]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
