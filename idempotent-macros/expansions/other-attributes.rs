#[must_use]
#[idempotent(scope = user.id)]
/// Makes a payment.
#[allow(clippy::needless_pass_by_value)]
#[axum::debug_handler]
#[tracing::instrument(skip_all)]
#[deprecated]
async fn create(user: User, Json(new): Json<NewPayment>) -> Json<Payment> {
    Json(user.pay(new).await)
}
