use actix_web::{App, HttpResponse, web};
use idempotent_runtime::idempotent;

struct User {
    id: u64,
}

#[idempotent(scope = user.id)]
async fn pay(user: User, amount: web::Json<u64>) -> HttpResponse {
    HttpResponse::Created().json(user.id + amount.into_inner())
}

fn main() {
    let _ = App::new().route("/payments", web::post().to(pay));
}
