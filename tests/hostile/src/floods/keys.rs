//! Many keys of one caller, and one key from many connections.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    sync::{Barrier, Semaphore, watch},
    task::JoinSet,
};

use super::{Scale, Told};
use crate::{
    Failure,
    http::{Answer, Connection, post},
    process::Server,
    server::FLOODS,
};

/// How many connect at the same time: more would only wait for each other in the system's queue.
const CONNECTING: usize = 256;

/// A new key for each request, one after another on each connection.
pub(super) async fn many(server: &Server, scale: Scale) -> Result<Told, Failure> {
    let told = Arc::new(Told::default());
    let address = server.address;
    let mut clients = JoinSet::new();
    for client in 0..scale.connections {
        let told = Arc::clone(&told);
        clients.spawn(async move {
            let mut connection = Connection::open(address).await?;
            for number in (client..scale.requests).step_by(scale.connections) {
                let request = post("/pay", "many", &format!("many-{number}"), FLOODS + number);
                let answer = connection.ask(&request).await?;
                told.note(Ok(&answer));
            }
            Ok::<_, io::Error>(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended?.map_err(|error| format!("a client had no answer: {error}"))?;
    }
    Ok(Arc::into_inner(told).ok_or("all clients have ended")?)
}

/// The same request on every connection while its handler is held, and on every one again when it
/// has run. All answers are one and the same.
pub(super) async fn one(
    server: &Server,
    scale: Scale,
    path: &'static str,
) -> Result<Told, Failure> {
    let request: Arc<[u8]> = post(path, "one", "one", FLOODS).into();
    let requests = move |_: usize| Arc::clone(&request);
    let (told, bodies) = held(server, scale, requests, true).await?;
    if bodies.iter().any(|body| *body != bodies[0]) {
        return Err("one key has more than one response".into());
    }
    Ok(told)
}

/// A request with another key on every connection, and all their handlers are held.
pub(super) async fn running(server: &Server, scale: Scale) -> Result<Told, Failure> {
    let requests = |number: usize| {
        post(
            "/hold",
            "running",
            &format!("run-{number}"),
            FLOODS + number,
        )
        .into()
    };
    Ok(held(server, scale, requests, false).await?.0)
}

/// What is told, and all responses of handlers.
async fn held(
    server: &Server,
    scale: Scale,
    requests: impl Fn(usize) -> Arc<[u8]>,
    again: bool,
) -> Result<(Told, Vec<Vec<u8>>), Failure> {
    let told = Arc::new(Told::default());
    let connecting = Arc::new(Semaphore::new(CONNECTING));
    let all_sent = Arc::new(Barrier::new(scale.connections + 1));
    let (opened, opening) = watch::channel(false);
    let mut clients = JoinSet::new();
    for number in 0..scale.connections {
        let client = Client {
            address: server.address,
            request: requests(number),
            told: Arc::clone(&told),
            connecting: Arc::clone(&connecting),
            all_sent: Arc::clone(&all_sent),
            opening: opening.clone(),
        };
        clients.spawn(client.ask(again));
    }
    drop(opening);
    all_sent.wait().await;
    // All that are not held or waiting have their answer, which leaves the handler no other time
    // to run in than from now on.
    server.open_gate().await?;
    opened.send_replace(true);
    let mut bodies = Vec::new();
    while let Some(ended) = clients.join_next().await {
        bodies.extend(ended??);
    }
    let told = Arc::into_inner(told).ok_or("all clients have ended")?;
    Ok((told, bodies))
}

struct Client {
    address: SocketAddr,
    request: Arc<[u8]>,
    told: Arc<Told>,
    connecting: Arc<Semaphore>,
    all_sent: Arc<Barrier>,
    opening: watch::Receiver<bool>,
}

impl Client {
    /// The responses of handlers that it was given.
    async fn ask(mut self, again: bool) -> io::Result<Vec<Vec<u8>>> {
        let mut connection = self.connect().await;
        if let Ok(connection) = &mut connection {
            let _ = connection.send(&self.request).await;
        }
        // Also one that has failed: the others would wait for it.
        self.all_sent.wait().await;
        let mut connection = connection?;
        let mut bodies = Vec::new();
        let answer = match connection.answer().await {
            Ok(answer) => answer,
            // It was closed for having been idle, or for being one too many.
            Err(_) => self.ask_anew(&mut connection).await?,
        };
        self.told.note(Ok(&answer));
        if answer.status == 201 {
            bodies.push(answer.body);
        }
        if again {
            let _ = self.opening.wait_for(|is_open| *is_open).await;
            // The gate is open, but the handler may still be on its way out.
            loop {
                let answer = match connection.ask(&self.request).await {
                    Ok(answer) => answer,
                    Err(_) => self.ask_anew(&mut connection).await?,
                };
                self.told.note(Ok(&answer));
                if answer.status == 201 {
                    bodies.push(answer.body);
                    break;
                }
            }
        }
        Ok(bodies)
    }

    async fn connect(&self) -> io::Result<Connection> {
        let _place = self.connecting.acquire().await.map_err(io::Error::other)?;
        Connection::open(self.address).await
    }

    async fn ask_anew(&self, connection: &mut Connection) -> io::Result<Answer> {
        *connection = self.connect().await?;
        connection.ask(&self.request).await
    }
}
