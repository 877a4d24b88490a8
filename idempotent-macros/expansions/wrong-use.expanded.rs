::core::compile_error! {
    "`ttl` cannot be `\"24x\"`; write a duration such as `\"24h\"`, `\"30m\"`, `\"1h30m\"` or `\"7d\"`"
}
::core::compile_error! {
    "`create` must be async; write `async fn create`"
}
/// Stays as it was, below what is wrong with it.
#[post("/payments")]
fn create(new: web::Json<NewPayment>) -> HttpResponse {
    HttpResponse::Created().json(new)
}
