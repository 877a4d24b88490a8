//! In actix-web.

use actix_web::{
    App, HttpResponse, HttpServer,
    http::StatusCode,
    rt::System,
    web::{Bytes, Data, Json, PayloadConfig, get, post},
};
use idempotent_runtime::idempotent;

use super::{BODY_LIMIT, Ledger, World};
use crate::Failure;

pub(super) fn serve(world: World, protected: bool) -> Result<(), Failure> {
    let idempotency = world.idempotency.clone();
    let world = Data::new(world);
    let app = move || {
        let pay = if protected {
            post().to(pay)
        } else {
            post().to(unprotected)
        };
        App::new()
            .app_data(PayloadConfig::new(BODY_LIMIT))
            .app_data(idempotency.clone())
            .app_data(world.clone())
            .route("/pay", pay)
            .route("/hold", post().to(hold))
            .route("/hold/wait", post().to(hold_and_wait))
            .route("/open", post().to(open))
            .route("/ledger", get().to(ledger))
    };
    System::new().block_on(async {
        let server = HttpServer::new(app)
            .workers(2)
            .backlog(4096)
            .bind("127.0.0.1:0")?;
        println!("{}", server.addrs()[0]);
        server.run().await?;
        Ok(())
    })
}

fn answer((status, body): (u16, String)) -> HttpResponse {
    HttpResponse::build(StatusCode::from_u16(status).unwrap_or_default()).body(body)
}

#[idempotent(scope = "user", max_response = "4KiB")]
async fn pay(world: Data<World>, body: Bytes) -> HttpResponse {
    answer(world.pay(&body))
}

async fn unprotected(world: Data<World>, body: Bytes) -> HttpResponse {
    answer(world.pay(&body))
}

#[idempotent(scope = "user")]
async fn hold(world: Data<World>, body: Bytes) -> HttpResponse {
    answer(world.hold(&body).await)
}

#[idempotent(scope = "user", wait = "5m")]
async fn hold_and_wait(world: Data<World>, body: Bytes) -> HttpResponse {
    answer(world.hold(&body).await)
}

async fn open(world: Data<World>) -> HttpResponse {
    world.open();
    HttpResponse::Ok().finish()
}

async fn ledger(world: Data<World>) -> Json<Ledger> {
    Json(world.told())
}
