//! The attribute's arguments.

use std::{fmt, sync::Arc};

use axum::{
    Json, Router,
    extract::{Extension, Path, State},
    routing::post,
};
use idempotent_runtime::idempotent;

#[derive(Clone)]
struct Tenant {
    id: u64,
    name: Option<String>,
}

impl fmt::Display for Tenant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(formatter)
    }
}

#[derive(Clone)]
enum Caller {
    Person { id: u64 },
    Machine(Arc<str>),
}

#[derive(serde::Deserialize, serde::Serialize)]
struct Order {
    id: u64,
    lines: (u64, Vec<String>),
    note: Option<String>,
}

/// Not `Clone`, not `Copy`: the expressions borrow.
struct Price(u64);

fn price(order: &Order) -> Price {
    Price(order.lines.0)
}

#[idempotent(
    scope = "user",
    ttl = "1h30m",
    key = "derived",
    fingerprint = "request",
    wait = "5s",
    lease = "1m",
    on_lost = "refuse",
    release_on(409, 429, 4xx, 5xx),
    store_down = "run",
    max_response = "64KiB",
    operation = "create payment",
    crate = ::idempotent_runtime,
)]
async fn every_argument(Json(order): Json<Order>) -> Json<Order> {
    Json(order)
}

#[idempotent(
    store_down = "refuse",
    on_lost = "rerun",
    fingerprint = "none",
    key = "required",
    scope = "global",
    ttl = "7d",
    lease = "1 hour",
    max_response = "1B",
    release_on()
)]
async fn in_another_order(Json(order): Json<Order>) -> Json<Order> {
    Json(order)
}

#[idempotent(scope = tenant, key = "optional", ttl = "2 weeks")]
async fn a_name(Extension(tenant): Extension<Tenant>) -> String {
    tenant.to_string()
}

#[idempotent(
    scope = format!("{}/{}", tenant.id, tenant.name.as_deref().unwrap_or("nobody")),
    key = order.id,
    fingerprint = (price(order).0, &order.lines.1, order.note.as_ref()),
)]
async fn calls(
    Extension(tenant): Extension<Tenant>,
    Path((shop, _)): Path<(String, u64)>,
    Json(order): Json<Order>,
) -> Json<Order> {
    drop((tenant, shop));
    Json(order)
}

#[idempotent(
    scope = match caller {
        Caller::Person { id } => id.to_string(),
        Caller::Machine(name) => name.as_ref().to_owned(),
    },
    key = {
        let first = lines.first();
        first.map_or("none", |line| line.as_str())
    },
    fingerprint = if *count > 1 { lines.as_slice() } else { &[] },
)]
async fn blocks(
    State(_): State<u64>,
    Extension(mut caller): Extension<Caller>,
    Json(Order {
        id: _,
        lines: (mut count, mut lines),
        ..
    }): Json<Order>,
) -> String {
    if let Caller::Person { id } = &mut caller {
        *id += 1;
    }
    count += 1;
    lines.clear();
    count.to_string()
}

#[idempotent(scope = order.id, key = id, fingerprint = [a, b])]
async fn patterns(
    Path([a, b, ..]): Path<[u64; 4]>,
    Json(ref order @ Order { ref id, .. }): Json<Order>,
) -> String {
    format!("{} {id} {}", order.id, a + b)
}

const REGION: &str = "eu";

#[idempotent(scope = REGION, key = *tenant_id + 1, fingerprint = None::<u8>)]
async fn constants(Path(tenant_id): Path<u64>) -> String {
    tenant_id.to_string()
}

fn main() {
    let _: Router = Router::new()
        .route("/1", post(every_argument))
        .route("/2", post(in_another_order))
        .route("/3", post(a_name))
        .route("/4/{shop}/{id}", post(calls))
        .route("/5", post(blocks))
        .route("/6/{a}/{b}/{c}/{d}", post(patterns))
        .route("/7/{id}", post(constants))
        .with_state(9_u64);
}
