#[idempotent(
    scope = "user",
    ttl = "7d",
    key = "derived",
    fingerprint = "request",
    wait = "5s",
    lease = "1m",
    on_lost = "refuse",
    release_on(409, 5xx),
    store_down = "run",
    max_response = "64KiB",
    operation = "create payment",
    crate = crate::web::runtime
)]
async fn create(Json(new): Json<NewPayment>) -> StatusCode {
    charge(new).await
}
