//! What is kept of a response.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
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
    recordable::sealed::{Recordable, Recording},
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

    fn record(
        mut self,
        max_response: u64,
    ) -> Recording<Self, impl Future<Output = (Self, StoredResponse)>> {
        let status = self.status().as_u16();
        let at_least = self.body().size_hint().lower();
        if !can_keep(content_type(self.headers()), at_least, max_response) {
            let stored = StoredResponse::tombstone_of(status, || headers(&self));
            return Recording::Done(self, stored);
        }
        let mut whole = Bytes::new();
        if !self.body().is_end_stream() {
            // Nobody is woken by this look at the body: one that is not there is asked again.
            let mut context = Context::from_waker(Waker::noop());
            match Pin::new(self.body_mut()).poll_frame(&mut context) {
                Poll::Ready(Some(Ok(frame)))
                    if self.body().is_end_stream() && fits(&frame, max_response) =>
                {
                    whole = frame.into_data().unwrap_or_default();
                }
                Poll::Ready(None) => {}
                first => return Recording::Reading(Box::pin(read(self, first, max_response))),
            }
        }
        let stored = StoredResponse::of(status, || headers(&self), &whole);
        *self.body_mut() = Body::from(whole);
        Recording::Done(self, stored)
    }
}

fn fits(frame: &Frame<Bytes>, max_response: u64) -> bool {
    frame
        .data_ref()
        .is_some_and(|data| data.len() as u64 <= max_response)
}

/// Records a response whose body is not in one piece, or not there yet.
async fn read(
    mut response: Response,
    mut next: Poll<Option<ReadFrame>>,
    max_response: u64,
) -> (Response, StoredResponse) {
    let mut read = Vec::new();
    let mut length = 0;
    // What comes after the data that was read: nothing, trailers, an error, or more data.
    let (whole, last) = loop {
        let frame = match std::mem::replace(&mut next, Poll::Pending) {
            Poll::Ready(frame) => frame,
            Poll::Pending => response.body_mut().frame().await,
        };
        match frame {
            None => break (true, None),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    length += data.len() as u64;
                    read.push(data);
                    if length > max_response {
                        break (false, None);
                    }
                }
                // A record has no place for trailers, and a response is not whole without.
                Err(trailers) => break (false, Some(Ok(trailers))),
            },
            // It goes to the first caller as it is, failure included.
            Some(Err(error)) => break (false, Some(Err(error))),
        }
        if response.body().is_end_stream() {
            break (true, None);
        }
    };
    let status = response.status().as_u16();
    if whole {
        // In one piece: a stream that has ended may panic when it is polled again.
        let all = match <[Bytes; 1]>::try_from(read) {
            Ok([only]) => only,
            Err(read) => read.concat().into(),
        };
        let stored = StoredResponse::of(status, || headers(&response), &all);
        *response.body_mut() = Body::from(all);
        return (response, stored);
    }
    let stored = StoredResponse::tombstone_of(status, || headers(&response));
    let rest = std::mem::take(response.body_mut());
    *response.body_mut() = resumed(read, last, rest);
    (response, stored)
}

fn headers(response: &Response) -> impl Iterator<Item = (&str, &[u8])> {
    let headers = response.headers().iter();
    headers.map(|(name, value)| (name.as_str(), value.as_bytes()))
}

fn resumed(read: Vec<Bytes>, last: Option<ReadFrame>, rest: Body) -> Body {
    Body::new(Resumed {
        read: read.into_iter(),
        last: last.map(Box::new),
        rest,
    })
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

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    const CHECKSUM: HeaderName = HeaderName::from_static("x-checksum");
    const LIMIT: u64 = 100;

    /// Gives these frames one by one, then its end, and must not be polled again.
    struct Frames(Option<std::vec::IntoIter<Frame<Bytes>>>);

    impl HttpBody for Frames {
        type Data = Bytes;
        type Error = axum::Error;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<ReadFrame>> {
            let frames = self.0.as_mut().expect("not polled after its end");
            let next = frames.next();
            if next.is_none() {
                self.0 = None;
            }
            Poll::Ready(next.map(Ok))
        }
    }

    async fn recorded(frames: Vec<Frame<Bytes>>) -> (Response, StoredResponse) {
        let body = Body::new(Frames(Some(frames.into_iter())));
        match Response::new(body).record(LIMIT) {
            Recording::Done(response, stored) => (response, stored),
            Recording::Reading(reading) => reading.await,
        }
    }

    fn data(text: &'static str) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn a_response_with_trailers_leaves_a_tombstone_and_goes_out_whole() {
        for before in [vec![], vec![data("a")], vec![data("a"), data("b")]] {
            let expected: String = "ab"[..before.len()].to_owned();
            let trailers = HeaderMap::from_iter([(CHECKSUM, HeaderValue::from_static("1"))]);
            let frames = before
                .into_iter()
                .chain([Frame::trailers(trailers.clone())]);
            let (response, stored) = recorded(frames.collect()).await;
            assert!(stored.is_tombstone());
            let sent = response.into_body().collect().await.unwrap();
            assert_eq!(sent.trailers(), Some(&trailers));
            assert_eq!(sent.to_bytes(), expected);
        }
    }

    #[tokio::test]
    async fn a_body_is_not_polled_after_its_end() {
        for frames in [vec![], vec![data("a")], vec![data("a"), data("b")]] {
            let (response, stored) = recorded(frames).await;
            let sent = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(stored.body(), sent);
        }
    }
}
