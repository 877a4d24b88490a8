#[idempotent(runtime = state.idempotency, key = event.id, scope = "global", ttl = "7d")]
pub(crate) async fn on_paid(state: Arc<State>, mut event: Paid) -> Result<Receipt, Error> {
    event.note(&state);
    Ok(Receipt(event.id))
}

#[idempotent(
    runtime = RUNTIME,
    key = id,
    scope = customer.id,
    fingerprint = (id, amount),
    operation = "settle",
    errors = "record"
)]
async fn settle<T: Tender>(
    (id, amount): (u64, i64),
    execution: OnceExecution<Result<T, Declined>>,
    customer: Customer,
) -> Result<T, Declined> {
    tender(id, amount, execution, customer).await
}
