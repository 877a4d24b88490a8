use idempotent_runtime::idempotent;

#[idempotent(scope = "global")]
async unsafe fn pay() -> &'static str {
    "paid"
}

fn main() {}
