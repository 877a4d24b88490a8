//! An HTTP/1.1 client that keeps every byte as it was, and can go away in every way.

use std::{io, net::SocketAddr};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{hush, wait::soon, world::Plan};

/// A request that is being put together.
#[derive(Clone, Debug)]
pub struct Request {
    address: SocketAddr,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Body,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    None,
    Sized(Vec<u8>),
    Chunked(Vec<Vec<u8>>),
}

impl Request {
    /// A request to this address.
    #[must_use]
    pub fn new(address: SocketAddr, method: &str, target: &str) -> Self {
        Self {
            address,
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Body::None,
        }
    }

    /// Adds a header, as it is.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Adds an `Idempotency-Key`, [marked](hush::marked) as secret; as it is, if it is not a short word.
    #[must_use]
    pub fn key(self, key: impl AsRef<[u8]>) -> Self {
        self.header("Idempotency-Key", hush::marked_bytes(key.as_ref()))
    }

    /// Says who calls, [marked](hush::marked) as secret.
    #[must_use]
    pub fn user(self, user: &str) -> Self {
        self.header("x-user", hush::marked_bytes(user.as_bytes()))
    }

    /// Tells the handler what to do.
    #[must_use]
    pub fn plan(self, plan: &Plan) -> Self {
        let plan = serde_json::to_vec(plan).unwrap();
        self.header("x-plan", plan)
    }

    /// Has a body of a length that is told before it.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Body::Sized(body.as_ref().to_vec());
        self
    }

    /// Has a body in chunks.
    #[must_use]
    pub fn chunked(mut self, chunks: &[&[u8]]) -> Self {
        self.body = Body::Chunked(chunks.iter().map(|chunk| chunk.to_vec()).collect());
        self
    }

    /// Has a JSON body.
    #[must_use]
    pub fn json(self, value: &Value) -> Self {
        self.header("content-type", "application/json")
            .body(value.to_string())
    }

    /// Sends it and reads the whole response.
    pub async fn send(&self) -> Response {
        let mut connection = self.open().await;
        connection.response().await
    }

    /// Sends it until it is answered otherwise than to come back: that the operation runs, or that a
    /// machine with much else to do was too slow for a lease.
    pub async fn send_until_settled(&self) -> Response {
        soon("the claim ends", async {
            loop {
                let response = self.send().await;
                if !response.is_problem() || response.json()["retryable"] != true {
                    return response;
                }
            }
        })
        .await
    }

    /// Sends it on a connection of its own and reads nothing yet.
    pub async fn open(&self) -> Connection {
        let mut connection = Connection::to(self.address).await;
        connection.write(self).await;
        connection
    }

    /// The bytes of the request.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        let mut field = |name: &str, value: &[u8]| {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        };
        field("host", b"localhost");
        for (name, value) in &self.headers {
            field(name, value);
        }
        match &self.body {
            Body::None => field("content-length", b"0"),
            Body::Sized(body) => field("content-length", body.len().to_string().as_bytes()),
            Body::Chunked(_) => field("transfer-encoding", b"chunked"),
        }
        bytes.extend_from_slice(b"\r\n");
        match &self.body {
            Body::None => {}
            Body::Sized(body) => bytes.extend_from_slice(body),
            Body::Chunked(chunks) => {
                for chunk in chunks {
                    bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
            }
        }
        bytes
    }
}

/// One connection to a server.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// What was read and not yet used.
    read: Vec<u8>,
}

impl Connection {
    /// A new connection.
    pub async fn to(address: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(address))
            .await
            .unwrap();
        stream.set_nodelay(true).unwrap();
        let read = Vec::new();
        Self { stream, read }
    }

    /// Writes a request, or as much of it as the server takes: one that refuses a body need not
    /// read it.
    pub async fn write(&mut self, request: &Request) {
        self.write_bytes(&request.bytes()).await;
    }

    /// Writes bytes, as they are.
    pub async fn write_bytes(&mut self, bytes: &[u8]) {
        let _ = soon("a request is taken", self.stream.write_all(bytes)).await;
    }

    /// Reads a whole response.
    ///
    /// # Panics
    ///
    /// There is none, or it is a refusal that tells a secret, in whatever form.
    pub async fn response(&mut self) -> Response {
        self.whole_response().await.hushed()
    }

    async fn whole_response(&mut self) -> Response {
        let mut response = self.head().await;
        if response.status == 204 || response.status == 304 {
            return response;
        }
        if let Some(length) = response.header("content-length") {
            let length: usize = std::str::from_utf8(length).unwrap().parse().unwrap();
            soon("a body", self.fill(length)).await.unwrap();
            response.body = self.read.drain(..length).collect();
        } else if response.header("transfer-encoding") == Some(b"chunked") {
            while let Some(chunk) = self.chunk().await {
                response.body.extend_from_slice(&chunk);
            }
        } else {
            soon("the end of a body", self.stream.read_to_end(&mut self.read))
                .await
                .unwrap();
            response.body = std::mem::take(&mut self.read);
        }
        response
    }

    /// Reads the head of a response: a response without its body.
    pub async fn head(&mut self) -> Response {
        soon("the head of a response", self.try_head())
            .await
            .unwrap_or_else(|error| panic!("there is no response: {error}"))
    }

    /// Whether the server hung up without a response.
    pub async fn is_hung_up(&mut self) -> bool {
        soon("an answer or its absence", self.try_head())
            .await
            .is_err()
    }

    async fn try_head(&mut self) -> io::Result<Response> {
        let end = loop {
            let end = self.read.windows(4).position(|four| four == b"\r\n\r\n");
            match end {
                Some(end) => break end,
                None => self.fill(self.read.len() + 1).await?,
            }
        };
        let head: Vec<u8> = self.read.drain(..end + 4).collect();
        let mut lines = head[..end].split(|byte| *byte == b'\n');
        let status = lines.next().unwrap();
        let status = std::str::from_utf8(&status[9..12])
            .unwrap()
            .parse()
            .unwrap();
        let headers = lines.map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let colon = line.iter().position(|byte| *byte == b':').unwrap();
            let name = String::from_utf8(line[..colon].to_ascii_lowercase()).unwrap();
            (name, line[colon + 1..].trim_ascii().to_vec())
        });
        Ok(Response {
            status,
            headers: headers.collect(),
            body: Vec::new(),
        })
    }

    /// Reads one chunk of a chunked body; `None` at its end.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        self.try_chunk()
            .await
            .unwrap_or_else(|error| panic!("the body broke off: {error}"))
    }

    /// Reads one chunk of a body that may break off.
    pub async fn try_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        soon("a chunk", async {
            let end = loop {
                let end = self.read.windows(2).position(|two| two == b"\r\n");
                match end {
                    Some(end) => break end,
                    None => self.fill(self.read.len() + 1).await?,
                }
            };
            let length = std::str::from_utf8(&self.read[..end]).unwrap();
            let length = usize::from_str_radix(length, 16).unwrap();
            self.fill(end + 2 + length + 2).await?;
            self.read.drain(..end + 2);
            let chunk: Vec<u8> = self.read.drain(..length).collect();
            self.read.drain(..2);
            Ok((length > 0).then_some(chunk))
        })
        .await
    }

    async fn fill(&mut self, length: usize) -> io::Result<()> {
        while self.read.len() < length {
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Goes away the polite way (FIN).
    pub fn close(self) {
        drop(self.stream);
    }

    /// Goes away the hard way (RST).
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
        drop(self.stream);
    }

    /// Says that nothing more will be sent, and goes on reading.
    pub async fn half_close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }
}

/// A response, with its headers in order and as bytes; names in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

impl Response {
    /// Checks that it is no refusal that tells a secret, in whatever form.
    pub(crate) fn hushed(self) -> Self {
        if self.status >= 400 {
            let body = String::from_utf8_lossy(&self.body);
            hush::check("a refusal", &format!("{:?} {body}", self.headers));
        }
        self
    }

    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.all(name).first().copied()
    }

    /// All values of a header, in order.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        self.headers
            .iter()
            .filter(|(of, _)| of == name)
            .map(|(_, value)| &value[..])
            .collect()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn is_problem(&self) -> bool {
        self.header("content-type") == Some(b"application/problem+json")
    }

    /// Whether it is marked as a replay.
    ///
    /// # Panics
    ///
    /// When the mark is not `true`, once.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        match &self.all("idempotency-replayed")[..] {
            [] => false,
            [value] => {
                assert_eq!(*value, b"true");
                true
            }
            more => panic!("marked {} times", more.len()),
        }
    }

    /// Checks that it is this problem, as a document with all that belongs to it.
    ///
    /// # Panics
    ///
    /// When it is not.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) -> Value {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{body}");
        assert!(self.is_problem(), "{body}");
        let document = self.json();
        assert_eq!(document["code"], code);
        assert_eq!(document["status"], status);
        assert!(!self.is_replay(), "a problem is no replay");
        document
    }

    /// Checks that it is what a handler answered, for the first time.
    ///
    /// # Panics
    ///
    /// When it is not.
    #[track_caller]
    pub fn assert_first(&self, status: u16) -> &Self {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{body}");
        assert!(!self.is_replay(), "{body}");
        self
    }

    /// Checks that it is a replay with this status.
    ///
    /// # Panics
    ///
    /// When it is not.
    #[track_caller]
    pub fn assert_replay(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.is_replay(), "a replay says so: {self:?}");
        self
    }

    /// Checks that it is a replay of another one: status, body, and headers but those that are
    /// not kept, each with its values in order.
    ///
    /// # Panics
    ///
    /// When it is not.
    #[track_caller]
    pub fn assert_replay_of(&self, first: &Self) {
        assert!(self.is_replay(), "marked as a replay: {self:?}");
        assert!(!first.is_replay(), "a first response: {first:?}");
        assert_eq!(self.status, first.status);
        assert_eq!(self.body, first.body);
        assert_eq!(self.kept(), first.kept());
    }

    /// The headers that a replay must share with the first response, ordered by name: the order
    /// of different names is not kept by every framework.
    fn kept(&self) -> Vec<(String, Vec<u8>)> {
        const LEFT_OUT: [&str; 7] = [
            "connection",
            "content-length",
            "date",
            "idempotency-replayed",
            "keep-alive",
            "set-cookie",
            "transfer-encoding",
        ];
        let mut kept = self.headers.clone();
        kept.retain(|(name, _)| !LEFT_OUT.contains(&&name[..]));
        kept.sort_by(|(left, _), (right, _)| left.cmp(right));
        kept
    }
}
