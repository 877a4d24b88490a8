//! What is recorded of a response.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    http::header::HeaderValue,
};
use bytes::{Bytes, BytesMut};

use super::{EXPIRES, content_type};
use crate::{
    core::{protocol::can_keep, response::StoredResponse},
    recordable::sealed::{Recordable, Recording},
};

impl Recordable for HttpResponse {
    fn status(&self) -> u16 {
        self.status().as_u16()
    }

    fn set_expires(&mut self, date: Option<&[u8]>) {
        match date.and_then(|date| HeaderValue::from_bytes(date).ok()) {
            Some(date) => drop(self.headers_mut().insert(EXPIRES, date)),
            None => drop(self.headers_mut().remove(&EXPIRES)),
        }
    }

    fn record(
        self,
        max_response: u64,
    ) -> Recording<Self, impl Future<Output = (Self, StoredResponse)>> {
        let at_least = match self.body().size() {
            BodySize::None | BodySize::Stream => 0,
            BodySize::Sized(size) => size,
        };
        let (response, body) = self.into_parts();
        let status = response.status().as_u16();
        if !can_keep(content_type(response.headers()), at_least, max_response) {
            let stored = StoredResponse::tombstone_of(status, || headers(&response));
            return Recording::Done(response.set_body(body), stored);
        }
        match body.try_into_bytes() {
            Ok(whole) => {
                let stored = StoredResponse::of(status, || headers(&response), &whole);
                Recording::Done(response.set_body(BoxBody::new(whole)), stored)
            }
            Err(body) => Recording::Reading(Box::pin(read_response(response, body, max_response))),
        }
    }
}

/// Records a response whose body is not in one piece.
async fn read_response(
    response: HttpResponse<()>,
    mut body: BoxBody,
    max_response: u64,
) -> (HttpResponse, StoredResponse) {
    let mut read = Vec::new();
    let mut length = 0;
    let whole = loop {
        match poll_fn(|context| Pin::new(&mut body).poll_next(context)).await {
            None => break true,
            // A body that fails goes to the first caller as it is, failure included.
            Some(Err(error)) => {
                read.push(Err(error));
                break false;
            }
            Some(Ok(chunk)) => {
                length += chunk.len() as u64;
                read.push(Ok(chunk));
                if length > max_response {
                    break false;
                }
            }
        }
    };
    let status = response.status().as_u16();
    if whole {
        let mut all = BytesMut::with_capacity(usize::try_from(length).unwrap_or_default());
        read.iter()
            .flatten()
            .for_each(|chunk| all.extend_from_slice(chunk));
        let all = all.freeze();
        let stored = StoredResponse::of(status, || headers(&response), &all);
        return (response.set_body(BoxBody::new(all)), stored);
    }
    let stored = StoredResponse::tombstone_of(status, || headers(&response));
    let read = read.into_iter();
    let body = BoxBody::new(Resumed { read, rest: body });
    (response.set_body(body), stored)
}

fn headers(response: &HttpResponse<()>) -> impl Iterator<Item = (&str, &[u8])> {
    let headers = response.headers().iter();
    headers.map(|(name, value)| (name.as_str(), value.as_bytes()))
}

/// A body of which some chunks were read already.
struct Resumed {
    read: std::vec::IntoIter<Result<Bytes, Box<dyn std::error::Error>>>,
    rest: BoxBody,
}

impl MessageBody for Resumed {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        match self.read.next() {
            Some(chunk) => Poll::Ready(Some(chunk)),
            None => Pin::new(&mut self.rest).poll_next(context),
        }
    }
}
