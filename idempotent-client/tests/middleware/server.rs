//! A server on a socket that plays a script and remembers what it was sent.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What happens to one request.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// These bytes are answered, and the connection is closed.
    Answer(String),
    /// The connection is closed without an answer.
    HangUp,
    /// Nothing is answered.
    Silence,
}

/// A request as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| {
            let (of, value) = line.split_once(": ")?;
            of.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn key(&self) -> &str {
        self.header("idempotency-key").expect("a key")
    }
}

#[derive(Clone)]
pub(crate) struct Server {
    address: std::net::SocketAddr,
    received: Arc<watch::Sender<Vec<Received>>>,
    events: Arc<Mutex<VecDeque<Event>>>,
}

/// A response with a body of a length that is told.
pub(crate) fn answer(status: u16, headers: &[&str], body: &str) -> Event {
    let mut lines = headers.to_vec();
    let length = format!("content-length: {}", body.len());
    lines.extend(["connection: close", &length]);
    let lines = lines.join(
        "
",
    );
    Event::Answer(format!(
        "HTTP/1.1 {status} Whatever
{lines}

{body}"
    ))
}

pub(crate) fn problem(status: u16, code: &str) -> Event {
    let body = format!(r#"{{"code":"{code}"}}"#);
    answer(status, &["content-type: application/problem+json"], &body)
}

impl Server {
    pub(crate) async fn start(events: impl IntoIterator<Item = Event>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            received: Arc::new(watch::Sender::default()),
            events: Arc::new(Mutex::new(events.into_iter().collect())),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        server
    }

    pub(crate) fn add(&self, events: impl IntoIterator<Item = Event>) {
        self.events.lock().unwrap().extend(events);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.borrow().clone()
    }

    /// Waits until there were this many requests.
    pub(crate) async fn has_received(&self, count: usize) {
        let mut received = self.received.subscribe();
        let waited = received.wait_for(|received| received.len() >= count);
        let waited = tokio::time::timeout(std::time::Duration::from_secs(30), waited).await;
        waited.expect("the requests come").unwrap();
    }

    async fn serve(&self, mut stream: TcpStream) {
        let Some(request) = read(&mut stream).await else {
            return;
        };
        self.received.send_modify(|received| received.push(request));
        let event = self.events.lock().unwrap().pop_front();
        match event {
            Some(Event::Answer(bytes)) => {
                let _ = stream.write_all(bytes.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
            Some(Event::HangUp) => {}
            Some(Event::Silence) => {
                // Until the client goes.
                let _ = stream.read_u8().await;
            }
            None => {
                let unexpected = answer(418, &[], "an attempt too many");
                let Event::Answer(bytes) = unexpected else {
                    unreachable!()
                };
                let _ = stream.write_all(bytes.as_bytes()).await;
            }
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Received> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut request = Received {
        head,
        body: String::new(),
    };
    let length = request.header("content-length").unwrap_or("0");
    let length: usize = length.parse().unwrap();
    while bytes.len() < end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    request.body = String::from_utf8(bytes[end + 4..].to_vec()).unwrap();
    Some(request)
}
