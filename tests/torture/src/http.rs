//! Requests over connections that are kept.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request,
    client::conn::http1::{SendRequest, handshake},
    header::{LOCATION, RETRY_AFTER},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};

use crate::operation::Told;

/// A connection that is open.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

/// An answer that came as a whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Sends a request, on the connection that is there or on a new one, and gives the connection back
/// if it is still good. Whoever does not wait any longer hangs up.
pub(crate) async fn exchange(
    connection: Option<Connection>,
    address: SocketAddr,
    request: Request<Full<Bytes>>,
    patience: Duration,
) -> (Option<Connection>, Result<Answer, &'static str>) {
    let exchanged = timeout(patience, async {
        let mut connection = match connection.filter(|connection| !connection.sender.is_closed()) {
            Some(connection) => connection,
            None => connect(address).await.ok_or("cannot connect")?,
        };
        let answer = send(&mut connection, request).await;
        let answer = answer.map_err(|_| "the connection broke")?;
        Ok((connection, answer))
    });
    match exchanged.await {
        Ok(Ok((connection, answer))) => (Some(connection), Ok(answer)),
        Ok(Err(reason)) => (None, Err(reason)),
        Err(_) => (None, Err("it took too long")),
    }
}

async fn connect(address: SocketAddr) -> Option<Connection> {
    let stream = TcpStream::connect(address).await.ok()?;
    let _ = stream.set_nodelay(true);
    let (sender, driver) = handshake(TokioIo::new(stream)).await.ok()?;
    let driver = tokio::spawn(async {
        let _ = driver.await;
    });
    Some(Connection { sender, driver })
}

async fn send(
    connection: &mut Connection,
    request: Request<Full<Bytes>>,
) -> Result<Answer, hyper::Error> {
    connection.sender.ready().await?;
    let response = connection.sender.send_request(request).await?;
    let (head, body) = response.into_parts();
    Ok(Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: body.collect().await?.to_bytes(),
    })
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Answer {
    /// What it says of an operation.
    pub(crate) fn told(&self) -> Told {
        let text = |name| self.headers.get(name)?.to_str().ok();
        let is_replay = self.headers.contains_key("idempotency-replayed");
        let retry_after = text(RETRY_AFTER).and_then(|seconds| seconds.parse().ok());
        let told = Told::from_answer(self.status, is_replay, retry_after, &self.body);
        match (&told, text(LOCATION)) {
            (Told::Refused { code, .. }, Some(location)) if code == "response-not-kept" => {
                let payment = location.trim_start_matches("/payments/").to_owned();
                Told::NotKept { payment }
            }
            _ => told,
        }
    }
}
