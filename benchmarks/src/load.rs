//! The client: a connection that asks, and reads the answer to its end. It does nothing else, so
//! that it is not what limits a server on the other core.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, bail};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{apps::CALLER, in_process::session, payment::BODY};

pub(crate) struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    received: Vec<u8>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Of a session that it begins.
    pub(crate) session: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            request: Vec::with_capacity(512),
            received: Vec::with_capacity(4096),
        })
    }

    pub(crate) async fn post(
        &mut self,
        path: &str,
        session: &str,
        key: Option<&str>,
    ) -> Result<u16> {
        self.ask("POST", path, session, key).await?;
        Ok(self.answer(false).await?.status)
    }

    /// The session that a login begins.
    pub(crate) async fn login(&mut self, path: &str) -> Result<String> {
        self.ask("POST", path, "", None).await?;
        let answer = self.answer(true).await?;
        answer.session.context("a login sets a cookie")
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        self.ask("GET", path, "", None).await?;
        Ok(self.answer(true).await?.body)
    }

    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        session: &str,
        key: Option<&str>,
    ) -> Result<()> {
        self.request.clear();
        let mut push = |parts: &[&str]| {
            for part in parts {
                self.request.extend_from_slice(part.as_bytes());
            }
        };
        push(&[method, " ", path, " HTTP/1.1\r\nhost: localhost\r\n"]);
        push(&[CALLER, ": alice\r\n"]);
        if !session.is_empty() {
            push(&["cookie: ", session, "\r\n"]);
        }
        if let Some(key) = key {
            push(&["idempotency-key: ", key, "\r\n"]);
        }
        if method == "POST" {
            let length = BODY.len().to_string();
            push(&["content-type: application/json\r\ncontent-length: "]);
            push(&[&length, "\r\n\r\n", BODY]);
        } else {
            push(&["\r\n"]);
        }
        self.stream.write_all(&self.request).await?;
        Ok(())
    }

    /// All of the answer, and of its parts what is `wanted` beside the status.
    async fn answer(&mut self, wanted: bool) -> Result<Answer> {
        self.received.clear();
        loop {
            if self.stream.read_buf(&mut self.received).await? == 0 {
                bail!("the server closed a connection");
            }
            let mut headers = [httparse::EMPTY_HEADER; 32];
            let mut head = httparse::Response::new(&mut headers);
            let httparse::Status::Complete(head_length) = head.parse(&self.received)? else {
                continue;
            };
            let header = |name: &str| {
                let named = |header: &&httparse::Header| header.name.eq_ignore_ascii_case(name);
                let header = head.headers.iter().find(named)?;
                std::str::from_utf8(header.value).ok()
            };
            let length: usize = header("content-length")
                .context("an answer without a length")?
                .parse()?;
            if self.received.len() < head_length + length {
                continue;
            }
            return Ok(Answer {
                status: head.code.context("an answer without a status")?,
                session: header("set-cookie").filter(|_| wanted).map(session),
                body: if wanted {
                    self.received[head_length..].to_vec()
                } else {
                    Vec::new()
                },
            });
        }
    }
}
