use axum::extract::State;
use idempotent_runtime::idempotent;

struct Payments<R>(R);

impl<R: Clone + Send + Sync + 'static> Payments<R> {
    #[idempotent(scope = "global")]
    async fn pay(State(_repository): State<R>) -> &'static str {
        "paid"
    }
}

fn main() {}
