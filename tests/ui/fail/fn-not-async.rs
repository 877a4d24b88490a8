use idempotent_runtime::idempotent;

#[idempotent(scope = "global")]
fn pay() -> &'static str {
    "paid"
}

fn main() {}
