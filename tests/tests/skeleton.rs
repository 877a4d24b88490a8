//! One request and its retry, through both frameworks.
use std::sync::atomic::{AtomicU32, Ordering};
use idempotent_runtime::{Idempotency, MemoryStore, idempotent, Execution};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
static N: AtomicU32 = AtomicU32::new(0);

mod ax { use super::*;
    #[idempotent(scope = "global", ttl = "1h")]
    pub async fn create(axum::Json(mut body): axum::Json<serde_json::Value>) -> Result<(axum::http::StatusCode, axum::Json<serde_json::Value>), axum::http::StatusCode> {
        body["n"] = N.fetch_add(1, Ordering::SeqCst).into();
        Ok((axum::http::StatusCode::CREATED, axum::Json(body)))
    }
    #[idempotent(scope = "user")]
    pub async fn none(_e: Execution) -> String { N.fetch_add(1, Ordering::SeqCst).to_string() }
}
mod ac { use super::*;
    #[idempotent(scope = "global", ttl = "1h")]
    #[actix_web::post("/p")]
    pub async fn create(body: actix_web::web::Json<serde_json::Value>) -> actix_web::Result<impl actix_web::Responder> {
        let mut body = body.into_inner();
        body["n"] = N.fetch_add(1, Ordering::SeqCst).into();
        Ok((actix_web::web::Json(body), actix_web::http::StatusCode::CREATED))
    }
}
async fn send(addr: std::net::SocketAddr, path: &str, key: &str, body: &str) -> String {
    let mut s = tokio::net::TcpStream::connect(addr).await.unwrap();
    s.write_all(format!("POST {path} HTTP/1.1\r\nhost: x\r\nx-user: a\r\ncontent-type: application/json\r\n{key}connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
    let mut o = String::new(); s.read_to_string(&mut o).await.unwrap(); println!("{o}\n--"); o
}
#[tokio::test]
async fn axum_works() {
    let i = Idempotency::builder(MemoryStore::default()).scope("user", |r| r.header("x-user").map(str::to_owned)).build();
    let app = axum::Router::new().route("/p", axum::routing::post(ax::create)).route("/q", axum::routing::post(ax::none)).layer(i.clone());
    let l = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(); let a = l.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(l, app).await.unwrap() });
    send(a, "/p", "idempotency-key: k1\r\n", "{\"a\":1}").await;
    assert!(send(a, "/p", "idempotency-key: \"k1\"\r\n", "{\"a\":1}").await.contains("idempotency-replayed: true"));
    send(a, "/p", "idempotency-key: k1\r\n", "{\"a\":2}").await;
    send(a, "/p", "", "{\"a\":2}").await;
    send(a, "/q", "idempotency-key: k1\r\n", "{\"a\":2}").await;
    send(a, "/q", "idempotency-key: k1\r\n", "{\"a\":3}").await;
}
#[actix_web::test]
async fn actix_works() {
    let i = Idempotency::builder(MemoryStore::default()).build();
    let s = actix_web::HttpServer::new(move || actix_web::App::new().app_data(i.clone()).service(ac::create)).bind("127.0.0.1:0").unwrap().workers(1);
    let a = s.addrs()[0]; actix_web::rt::spawn(s.run());
    send(a, "/p", "idempotency-key: k1\r\n", "{\"a\":1}").await;
    assert!(send(a, "/p", "idempotency-key: k1\r\n", "{\"a\":1}").await.contains("idempotency-replayed: true"));
    send(a, "/p", "idempotency-key: k1\r\n", "{\"a\":2}").await;
}
