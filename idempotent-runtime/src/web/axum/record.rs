//! What is kept of a response.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, HttpBody},
    http::HeaderValue,
    response::Response,
};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

use super::{EXPIRES, content_type};
use crate::{
    core::{protocol::can_keep, response::StoredResponse},
    web::sealed::Recordable,
};

impl Recordable for Response {
    fn status(&self) -> u16 {
        self.status().as_u16()
    }

    fn set_expires(&mut self, date: Option<&[u8]>) {
        match date.and_then(|date| HeaderValue::from_bytes(date).ok()) {
            Some(date) => self.headers_mut().insert(EXPIRES, date),
            None => self.headers_mut().remove(EXPIRES),
        };
    }

    // Not an `async fn`, and with the response in one piece, because every request has room for
    // this future.
    #[expect(clippy::manual_async_fn)]
    fn record(mut self, max_response: u64) -> impl Future<Output = (Self, StoredResponse)> {
        async move {
            let at_least = self.body().size_hint().lower();
            if !can_keep(content_type(self.headers()), at_least, max_response) {
                let stored = StoredResponse::tombstone(self.status().as_u16(), &headers(&self));
                return (self, stored);
            }
            // Most bodies come in one piece, and need no list.
            let mut first = Bytes::new();
            let mut more = Vec::new();
            let mut length = 0;
            // What comes after the data that was read: nothing, trailers, an error, or more data.
            let (whole, last) = loop {
                if self.body().is_end_stream() {
                    break (true, None);
                }
                match self.body_mut().frame().await {
                    None => break (true, None),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => {
                            length += data.len() as u64;
                            if first.is_empty() {
                                first = data;
                            } else {
                                more.push(data);
                            }
                            if length > max_response {
                                break (false, None);
                            }
                        }
                        // A record has no place for trailers, and a response is not whole
                        // without.
                        Err(trailers) => break (false, Some(Ok(trailers))),
                    },
                    // It goes to the first caller as it is, failure included.
                    Some(Err(error)) => break (false, Some(Err(error))),
                }
            };
            let (status, headers) = (self.status().as_u16(), headers(&self));
            if whole && more.is_empty() {
                let stored = StoredResponse::new(status, &headers, &first);
                *self.body_mut() = Body::from(first);
                return (self, stored);
            }
            if !first.is_empty() {
                more.insert(0, first);
            }
            let stored = if whole {
                StoredResponse::new(status, &headers, &more.concat())
            } else {
                StoredResponse::tombstone(status, &headers)
            };
            let rest = std::mem::take(self.body_mut());
            *self.body_mut() = Body::new(Resumed {
                read: more.into_iter(),
                last: last.map(Box::new),
                rest,
            });
            (self, stored)
        }
    }
}

fn headers(response: &Response) -> Vec<(&str, &[u8])> {
    let headers = response.headers().iter();
    headers
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect()
}

type ReadFrame = Result<Frame<Bytes>, axum::Error>;

/// A body of which some was read already.
struct Resumed {
    read: std::vec::IntoIter<Bytes>,
    last: Option<Box<ReadFrame>>,
    rest: Body,
}

impl HttpBody for Resumed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ReadFrame>> {
        if let Some(data) = self.read.next() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match self.last.take() {
            Some(last) => Poll::Ready(Some(*last)),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.as_slice().is_empty() && self.last.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read: u64 = self
            .read
            .as_slice()
            .iter()
            .map(|data| data.len() as u64)
            .sum();
        let rest = self.rest.size_hint();
        let mut whole = SizeHint::new();
        whole.set_lower(read + rest.lower());
        if let Some(upper) = rest.upper() {
            whole.set_upper(read + upper);
        }
        whole
    }
}
