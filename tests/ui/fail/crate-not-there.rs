use idempotent_runtime::idempotent;

#[idempotent(scope = "global", crate = elsewhere::idempotent_runtime)]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
