use idempotent_runtime::idempotent;

#[idempotent(scop = "global")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
