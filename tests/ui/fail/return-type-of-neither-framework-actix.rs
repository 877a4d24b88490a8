use actix_web::{post, web};
use idempotent_runtime::idempotent;

struct Receipt {
    id: u64,
}

#[idempotent(scope = "global")]
#[post("/payments")]
async fn pay(amount: web::Json<u64>) -> Receipt {
    Receipt {
        id: amount.into_inner(),
    }
}

fn main() {
    let _ = actix_web::App::new().service(pay);
}
