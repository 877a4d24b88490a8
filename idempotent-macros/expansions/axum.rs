/// Makes a payment.
#[idempotent(ttl = "24h", scope = "user")]
pub async fn create(
    State(db): State<Db>,
    Json(mut new): Json<NewPayment>,
) -> Result<(StatusCode, Json<Payment>), AppError> {
    new.normalise()?;
    Ok((StatusCode::CREATED, Json(db.charge(new).await?)))
}
