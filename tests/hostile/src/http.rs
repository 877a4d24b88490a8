//! A client that decides about every byte.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_mins(2);
/// More than any answer of the server has.
const MAX_HEADERS: usize = 32;

/// A connection that is kept open.
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) is_replay: bool,
    /// The `code` of a problem.
    pub(crate) code: Option<String>,
    pub(crate) retry_after: bool,
    pub(crate) body: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = in_time(TcpStream::connect(address)).await?;
        stream.set_nodelay(true)?;
        let read = Vec::new();
        Ok(Self { stream, read })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        in_time(self.stream.write_all(bytes)).await
    }

    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        in_time(self.read_answer()).await
    }

    pub(crate) async fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.send(request).await?;
        self.answer().await
    }

    /// Whether something was answered that is not read yet.
    pub(crate) fn is_answered(&mut self) -> bool {
        self.stream.try_read_buf(&mut self.read).is_ok()
    }

    async fn read_answer(&mut self) -> io::Result<Answer> {
        loop {
            if let Some((mut answer, head, length)) = parse(&self.read)? {
                while self.read.len() < head + length {
                    self.fill().await?;
                }
                answer.body = self.read[head..head + length].to_vec();
                self.read.drain(..head + length);
                answer.code = code(&answer.body);
                return Ok(answer);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// The head of an answer, its length, and the length of the body.
fn parse(read: &[u8]) -> io::Result<Option<(Answer, usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(read);
    let httparse::Status::Complete(head) = parsed.map_err(io::Error::other)? else {
        return Ok(None);
    };
    let named = |name: &str| {
        let mut headers = response.headers.iter();
        let found = headers.find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    let length = named("content-length").and_then(|length| length.parse().ok());
    let answer = Answer {
        status: response.code.unwrap_or_default(),
        is_replay: named("idempotency-replayed") == Some("true"),
        code: None,
        retry_after: named("retry-after").is_some(),
        body: Vec::new(),
    };
    Ok(Some((answer, head, length.unwrap_or(0))))
}

fn code(body: &[u8]) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(document.get("code")?.as_str()?.to_owned())
}

async fn in_time<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let in_time = timeout(PATIENCE, what).await;
    in_time.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// A whole request for an operation.
pub(crate) fn post(path: &str, user: &str, key: &str, operation: usize) -> Vec<u8> {
    let body = operation.to_string();
    let length = body.len();
    let key = format!("Idempotency-Key: {key}\r\n");
    [
        head(path, user, &format!("{key}Content-Length: {length}\r\n")),
        body.into(),
    ]
    .concat()
}

/// The head of a request, up to the body.
pub(crate) fn head(path: &str, user: &str, headers: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nX-User: {user}\r\n{headers}\r\n").into()
}
