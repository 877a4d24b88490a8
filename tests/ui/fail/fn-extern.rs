use idempotent_runtime::idempotent;

#[idempotent(scope = "global")]
async extern "C" fn pay() -> &'static str {
    "paid"
}

fn main() {}
