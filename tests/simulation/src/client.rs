//! A client: it sends every operation of its list until it knows what became of it, and when all
//! is calm it asks once more.

use std::{error::Error, ops::Range, pin::pin, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::time::{sleep, timeout};
use turmoil::net::TcpStream;

use crate::{
    database::{Operation, Payment},
    server::{PORT, path_of},
    verdict::{Answers, Told},
    world::World,
};

/// How often a client asks for what the server has no room for, when all is calm.
const ATTEMPTS_WHEN_FULL: u32 = 3;

/// A client, and what it is about.
pub(crate) struct Client {
    pub(crate) index: usize,
    pub(crate) world: World,
    pub(crate) operations: Vec<Operation>,
    pub(crate) answers: Answers,
}

impl Client {
    pub(crate) async fn run(self) -> turmoil::Result {
        sleep(self.world.millis(0..300)).await;
        for operation in &self.operations {
            let told = self.settle(*operation, "").await;
            let is_recorded = matches!(told, Told::Paid(_) | Told::Failed)
                && !self.world.lock().mode.may_pay_twice();
            if self.world.chance(30) && is_recorded {
                // A mistake: the key of another request. Where a server is lost before its record
                // is kept, nothing is left that would tell so.
                self.settle(*operation, " other").await;
            }
            sleep(self.world.millis(0..600)).await;
        }
        while !self.world.lock().is_calm {
            sleep(Duration::from_millis(100)).await;
        }
        for operation in &self.operations {
            // What it says is judged with all the answers.
            self.settle(*operation, "").await;
        }
        Ok(())
    }

    /// Sends the same request until the answer is certain.
    async fn settle(&self, operation: Operation, suffix: &str) -> Told {
        let mut attempts_when_calm = 0;
        loop {
            let is_calm = self.world.lock().is_calm;
            let told = self.attempt(operation, suffix).await;
            let index = self.index;
            self.world.note(format_args!(
                "client {index}: operation {operation}{suffix}: {told:?}"
            ));
            let may_be_full = self.world.lock().mode.may_be_full();
            let told = match told {
                Told::Nothing | Told::Later if !is_calm => None,
                Told::Later if may_be_full && attempts_when_calm == ATTEMPTS_WHEN_FULL => {
                    Some(Told::Full)
                }
                Told::Nothing | Told::Later => {
                    attempts_when_calm += 1;
                    None
                }
                told => Some(told),
            };
            if let Some(told) = told {
                self.answers.add(operation, suffix, told, is_calm);
                return told;
            }
            sleep(self.world.millis(20..400)).await;
        }
    }

    async fn attempt(&self, operation: Operation, suffix: &str) -> Told {
        let (server, patience) = {
            let mut inner = self.world.lock();
            let servers = inner.mode.servers();
            let hangs_up = !inner.is_calm && inner.rng.u32(..100) < 30;
            let patience: Range<u64> = if hangs_up { 5..300 } else { 4000..8000 };
            (inner.rng.usize(..servers), inner.rng.u64(patience))
        };
        let path = path_of(self.world.lock().mode, operation);
        let sent = send(server, path, operation, suffix);
        match timeout(Duration::from_millis(patience), sent).await {
            Ok(Ok(told)) => told,
            Ok(Err(_)) | Err(_) => Told::Nothing,
        }
    }
}

async fn send(
    server: usize,
    path: &str,
    operation: Operation,
    suffix: &str,
) -> Result<Told, Box<dyn Error>> {
    let stream = TcpStream::connect((server_name(server), PORT)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::post(path)
        .header("host", "server")
        .header("idempotency-key", format!("order-{operation}"))
        .body(Full::new(Bytes::from(format!("{operation}{suffix}"))))?;
    let answered = async {
        let response = sender.send_request(request).await?;
        read(response).await
    };
    let (mut answered, mut connection) = (pin!(answered), pin!(connection));
    tokio::select! {
        biased;
        told = &mut answered => told,
        // All of the answer may have come when the connection is over.
        _ = &mut connection => answered.await,
    }
}

async fn read(response: Response<Incoming>) -> Result<Told, Box<dyn Error>> {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    let body = std::str::from_utf8(&body)?;
    Ok(match status {
        201 => Told::Paid(body.parse::<Payment>()?),
        409 if body.contains(r#""code":"in-flight""#) => Told::Later,
        409 if body.contains(r#""code":"outcome-unknown""#) => Told::Unknown,
        422 => Told::Reused,
        500 => Told::Failed,
        503 => Told::Later,
        status => Told::Unexpected(status),
    })
}

pub(crate) fn server_name(index: usize) -> String {
    format!("server-{index}")
}

pub(crate) fn client_name(index: usize) -> String {
    format!("client-{index}")
}
