#[idempotent(scope = "global")]
async fn sweep() {
    sweep_all().await;
}
