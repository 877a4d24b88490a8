use idempotent_runtime::idempotent;

#[idempotent(scope = "global", on_lost = "retry")]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
