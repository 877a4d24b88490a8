use idempotent_runtime::idempotent;

#[derive(Debug)]
struct Declined;

#[idempotent(scope = "global")]
async fn pay() -> Result<String, Declined> {
    Err(Declined)
}

fn main() {}
