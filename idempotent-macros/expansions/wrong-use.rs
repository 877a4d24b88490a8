/// Stays as it was, below what is wrong with it.
#[idempotent(ttl = "24x", scope = "user")]
#[post("/payments")]
fn create(new: web::Json<NewPayment>) -> HttpResponse {
    HttpResponse::Created().json(new)
}
