use idempotent_runtime::idempotent;

trait Payments {
    #[idempotent(scope = "global")]
    async fn pay() -> &'static str;
}

fn main() {}
