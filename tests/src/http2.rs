//! An HTTP/2 client that knows that its server speaks it. A request whose future is dropped is a
//! stream that is reset; the connection stays.

use std::net::SocketAddr;

use crate::{
    client::{Body, Request, Response},
    wait::soon,
};

/// One connection to a server, for as many requests at a time as there are.
#[derive(Clone, Debug)]
pub struct Http2 {
    client: reqwest::Client,
    address: SocketAddr,
}

impl Http2 {
    /// A connection, made when the first request is sent.
    pub fn to(address: SocketAddr) -> Self {
        let client = reqwest::Client::builder().http2_prior_knowledge();
        Self {
            client: client.no_proxy().build().unwrap(),
            address,
        }
    }

    /// Sends it and reads the whole response.
    ///
    /// # Panics
    ///
    /// There is none, or it is a refusal that tells a secret, in whatever form.
    pub async fn send(&self, request: &Request) -> Response {
        let method = request.method.parse().unwrap();
        let url = format!("http://{}{}", self.address, request.target);
        let mut sent = self.client.request(method, url);
        for (name, value) in &request.headers {
            sent = sent.header(name, &value[..]);
        }
        sent = match &request.body {
            Body::None => sent,
            Body::Sized(body) => sent.body(body.clone()),
            Body::Chunked(chunks) => sent.body(chunks.concat()),
        };
        let response = soon("a response", sent.send()).await.unwrap();
        assert_eq!(response.version(), reqwest::Version::HTTP_2);
        let headers = response.headers().iter();
        Response {
            status: response.status().as_u16(),
            headers: headers
                .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
                .collect(),
            body: soon("a body", response.bytes()).await.unwrap().to_vec(),
        }
        .hushed()
    }
}
