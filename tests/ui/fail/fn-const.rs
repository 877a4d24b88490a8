use idempotent_runtime::idempotent;

#[idempotent(scope = "global")]
const fn pay() -> &'static str {
    "paid"
}

fn main() {}
