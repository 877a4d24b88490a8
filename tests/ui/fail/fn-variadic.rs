use idempotent_runtime::idempotent;

#[idempotent(scope = "global")]
async fn pay(_: String, _: ...) {}

fn main() {}
