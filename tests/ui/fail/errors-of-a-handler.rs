use idempotent_runtime::idempotent;

#[idempotent(scope = "global", errors = "record")]
async fn pay(body: String) -> String {
    body
}

fn main() {}
