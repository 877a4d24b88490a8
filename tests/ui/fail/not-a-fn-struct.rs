use idempotent_runtime::idempotent;

#[idempotent(scope = "global")]
struct Payment;

fn main() {}
