impl<R: Repository> Payments<R> {
    const LIMIT: u64 = 1_000;

    #[idempotent(scope = "user")]
    #[cfg(feature = "payments")]
    pub(crate) async fn create(
        State(repository): State<R>,
        Json(new): Json<NewPayment>,
    ) -> Result<Json<Payment>, AppError> {
        new.at_most(Self::LIMIT)?;
        Ok(Json(repository.add(new).await?))
    }
}
