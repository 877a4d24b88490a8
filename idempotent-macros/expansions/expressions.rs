#[idempotent(
    scope = format!("{}/{}", tenant.id, user),
    key = event.id,
    fingerprint = (&event.amount, lines.len())
)]
async fn receive<S: Shop, const LIMIT: usize>(
    State(mut shop): State<S>,
    Path((tenant, ref user)): Path<(Tenant, String)>,
    Json(Event {
        mut lines, event, ..
    }): Json<Event>,
) -> Result<Json<Receipt>, AppError>
where
    AppError: From<S::Error>,
{
    lines.truncate(LIMIT);
    Ok(Json(shop.sell(tenant, user, event, lines).await?))
}
