use idempotent_runtime::idempotent;

#[idempotent(scope = "global")]
async fn pay() -> impl std::fmt::Display {
    "paid"
}

fn main() {}
