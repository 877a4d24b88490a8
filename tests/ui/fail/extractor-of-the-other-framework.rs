use actix_web::{App, HttpResponse, web};
use idempotent_runtime::idempotent;

#[idempotent(scope = "global")]
async fn pay(axum::Json(amount): axum::Json<u64>) -> HttpResponse {
    HttpResponse::Created().json(amount)
}

fn main() {
    let _ = App::new().route("/payments", web::post().to(pay));
}
