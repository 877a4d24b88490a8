//! One module with handlers of both frameworks, and one handler that is mounted in both.

use idempotent_runtime::idempotent;

#[idempotent(scope = "global")]
async fn either(body: String) -> String {
    body
}

#[idempotent(scope = "global")]
async fn either_fails() -> Result<&'static str, std::convert::Infallible> {
    Ok("paid")
}

#[idempotent(scope = "global", fingerprint = amount)]
async fn of_axum(axum::Json(amount): axum::Json<u64>) -> axum::Json<u64> {
    axum::Json(amount)
}

#[idempotent(scope = "global", fingerprint = amount)]
async fn of_actix(amount: actix_web::web::Json<u64>) -> actix_web::web::Json<u64> {
    amount
}

fn main() {
    let _: axum::Router = axum::Router::new()
        .route("/1", axum::routing::post(either))
        .route("/2", axum::routing::post(either_fails))
        .route("/3", axum::routing::post(of_axum));
    let _ = actix_web::App::new()
        .route("/1", actix_web::web::post().to(either))
        .route("/2", actix_web::web::post().to(either_fails))
        .route("/3", actix_web::web::post().to(of_actix));
}
