//! A server: handlers with the attribute, in axum, over simulated sockets.

use std::net::{IpAddr, Ipv4Addr};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    middleware::map_response_with_state,
    response::{IntoResponse, Response},
    routing::post,
};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use idempotent_runtime::{CommitInError, Execution, Idempotency, MemoryStore, idempotent};
use tokio::time::sleep;
use turmoil::net::TcpListener;

use crate::{LEASE, database::Operation, mode::Mode, store::SimulatedStore, world::World};

pub(crate) const PORT: u16 = 80;
/// The header that names a payment, also in the answer of a handler that failed after it.
pub(crate) const PAYMENT: &str = "payment";
/// How many operations the memory store has room for, which is less than there are.
const ROOM: usize = 5;

/// What is sent, and recorded: the number of an operation, and of its payment.
type Body = String;

#[derive(Clone)]
struct Server {
    world: World,
    index: usize,
}

/// What a handler does beside its payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Pay,
    /// Answers 503 before it pays.
    RefuseBefore,
    PanicBefore,
    /// Answers 500 after it has paid.
    FailAfter,
    PanicAfter,
}

/// Serves until the simulation ends the server.
pub(crate) async fn serve(
    world: World,
    index: usize,
    memory: Option<MemoryStore>,
) -> turmoil::Result {
    let mode = world.lock().mode;
    world.note(format_args!("server {index}: starts"));
    let builder = match memory {
        Some(store) => Idempotency::builder(store),
        None => Idempotency::builder(SimulatedStore {
            world: world.clone(),
            server: index,
        }),
    };
    let idempotency = builder.lease(LEASE).on_lost(mode.on_lost()).build();
    let server = Server { world, index };
    let app = Router::new()
        .route("/plain", post(pay))
        .route("/plain/waiting", post(pay_or_wait))
        .route("/commit-in", post(pay_in))
        .route("/commit-in/waiting", post(pay_in_or_wait))
        .layer(idempotency)
        .layer(map_response_with_state(server.clone(), see_whose_answer))
        .with_state(server);
    let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(app.clone());
        tokio::spawn(async move {
            // A connection that breaks is the client's affair.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// The memory store of [`Mode::Memory`].
pub(crate) fn memory_store(world: &World) -> Option<MemoryStore> {
    let builder = MemoryStore::builder()
        .max_entries(ROOM)
        .clock(world.clone());
    (world.lock().mode == Mode::Memory).then(|| builder.build())
}

/// Where an operation is sent to: one of two routes, which differ in how a retry is answered while
/// it runs.
pub(crate) fn path_of(mode: Mode, operation: Operation) -> &'static str {
    match (mode, operation % 2) {
        (Mode::CommitIn, 0) => "/commit-in",
        (Mode::CommitIn, _) => "/commit-in/waiting",
        (_, 0) => "/plain",
        _ => "/plain/waiting",
    }
}

#[idempotent(scope = "global")]
async fn pay(State(server): State<Server>, body: Body) -> Response {
    server.pay(&body).await
}

#[idempotent(scope = "global", wait = "2s")]
async fn pay_or_wait(State(server): State<Server>, body: Body) -> Response {
    server.pay(&body).await
}

#[idempotent(scope = "global")]
async fn pay_in(
    State(server): State<Server>,
    execution: Execution,
    body: Body,
) -> Result<Response, Failure> {
    server.pay_in(&execution, &body).await
}

#[idempotent(scope = "global", wait = "2s")]
async fn pay_in_or_wait(
    State(server): State<Server>,
    execution: Execution,
    body: Body,
) -> Result<Response, Failure> {
    server.pay_in(&execution, &body).await
}

/// A run that was told that its claim is lost must not answer with what it did.
async fn see_whose_answer(State(server): State<Server>, response: Response) -> Response {
    let payment = response.headers().get(PAYMENT);
    let payment = payment.and_then(|value| value.to_str().ok()?.parse().ok());
    if let Some(payment) = payment {
        let mut inner = server.world.lock();
        if inner.fenced.contains(&payment) {
            inner.mistaken += 1;
            inner.note(format_args!(
                "payment {payment} is answered by a fenced run"
            ));
        }
    }
    response
}

impl Server {
    async fn pay(&self, body: &str) -> Response {
        let operation = operation_of(body);
        let deed = self.start(operation).await;
        if deed == Deed::RefuseBefore {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        let payment = {
            let mut inner = self.world.lock();
            let payment = inner.database.next_payment();
            inner.database.pay(payment, operation);
            let index = self.index;
            inner.note(format_args!(
                "server {index}: operation {operation}: payment {payment}"
            ));
            payment
        };
        self.pause().await;
        self.end(deed, operation);
        let status = match deed {
            Deed::FailAfter => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::CREATED,
        };
        (
            status,
            [(PAYMENT, payment.to_string())],
            payment.to_string(),
        )
            .into_response()
    }

    async fn pay_in(&self, execution: &Execution, body: &str) -> Result<Response, Failure> {
        let operation = operation_of(body);
        let deed = self.start(operation).await;
        if deed == Deed::RefuseBefore {
            return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
        }
        let store = SimulatedStore {
            world: self.world.clone(),
            server: self.index,
        };
        let mut transaction = store.begin();
        let payment = transaction.pay(operation);
        let response = (StatusCode::CREATED, payment.to_string()).into_response();
        let response = execution.commit_in(&mut transaction, response).await?;
        if deed == Deed::FailAfter {
            // The transaction is dropped with what was written in it.
            return Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response());
        }
        self.pause().await;
        let response = response.commit(transaction).await?;
        self.end(deed, operation);
        Ok(response)
    }

    /// Takes its time, and panics where it is to.
    async fn start(&self, operation: Operation) -> Deed {
        let deed = self.deed();
        let index = self.index;
        self.world.note(format_args!(
            "server {index}: operation {operation}: runs, {deed:?}"
        ));
        self.pause().await;
        assert!(deed != Deed::PanicBefore, "on purpose, before the payment");
        deed
    }

    fn end(&self, deed: Deed, operation: Operation) {
        let index = self.index;
        self.world
            .note(format_args!("server {index}: operation {operation}: ends"));
        assert!(deed != Deed::PanicAfter, "on purpose, after the payment");
    }

    /// Most of the time not long, now and then for more than two leases.
    async fn pause(&self) {
        let pause = if self.world.chance(15) {
            self.world.millis(500..2200)
        } else {
            self.world.millis(1..80)
        };
        sleep(pause).await;
        self.world.gate(self.index).await;
    }

    fn deed(&self) -> Deed {
        let mut inner = self.world.lock();
        match inner.rng.u32(..100) {
            _ if inner.is_calm => Deed::Pay,
            0..12 => Deed::RefuseBefore,
            12..15 => Deed::PanicBefore,
            15..18 => Deed::FailAfter,
            18..21 => Deed::PanicAfter,
            _ => Deed::Pay,
        }
    }
}

/// A body is the number of its operation, and then whatever makes it another one.
fn operation_of(body: &str) -> Operation {
    let number = body
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok());
    number.expect("the clients send numbers")
}

struct Failure(CommitInError);

impl From<CommitInError> for Failure {
    fn from(error: CommitInError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        StatusCode::from_u16(self.0.status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response()
    }
}
