use actix_web::{HttpResponse, post, web};
use idempotent_runtime::idempotent;

struct User {
    id: u64,
}

#[idempotent(scope = user.id)]
#[post("/payments")]
async fn pay(user: User, amount: web::Json<u64>) -> HttpResponse {
    HttpResponse::Created().json(user.id + amount.into_inner())
}

fn main() {
    let _ = actix_web::App::new().service(pay);
}
