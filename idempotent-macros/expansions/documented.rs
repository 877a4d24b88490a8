/// Pays.
///
/// In cents.
#[idempotent(scope = "user")]
#[utoipa::path(
    post,
    path = "/pay",
    request_body = New<u64, u64>,
    params(("X-Trace" = String, Header)),
    responses((status = 201, body = Paid), Refusals),
)]
#[debug_handler]
pub async fn pay(Json(new): Json<New<u64, u64>>) -> Json<Paid> {
    charge(new)
}

#[idempotent(crate = crate::web, scope = "global")]
#[cfg(not(test))]
#[cfg_attr(feature = "document", inline, ::utoipa::path(description = HELP), allow(unused))]
#[post("/event")]
async fn event() {}
