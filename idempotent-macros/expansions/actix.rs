#[idempotent(scope = "global")]
#[post("/payments")]
async fn create(new: web::Json<NewPayment>) -> impl Responder {
    HttpResponse::Created().json(new)
}
