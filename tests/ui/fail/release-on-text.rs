use idempotent_runtime::idempotent;

#[idempotent(scope = "global", release_on("503"))]
async fn pay() -> &'static str {
    "paid"
}

fn main() {}
