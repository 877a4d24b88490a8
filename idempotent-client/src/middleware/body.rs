//! Holding a response until it is whole.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http_body::{Frame, SizeHint};
use reqwest::{Body, Response, ResponseBuilderExt as _};

/// Reads the response's body to its end, or until it is known to be larger than the limit. Gives
/// the response, as if nothing had been read, and what was read.
///
/// # Errors
///
/// That of the connection, if the body broke off.
pub(super) async fn hold(
    mut response: Response,
    limit: usize,
) -> reqwest::Result<(Response, Bytes)> {
    let is_too_long = response
        .content_length()
        .is_some_and(|length| usize::try_from(length).map_or(true, |length| length > limit));
    if is_too_long || is_event_stream(&response) {
        return Ok((response, Bytes::new()));
    }
    let mut read = BytesMut::new();
    let mut has_ended = false;
    while read.len() <= limit {
        let Some(chunk) = response.chunk().await? else {
            has_ended = true;
            break;
        };
        read.extend_from_slice(&chunk);
    }
    let start = read.freeze();
    let held = if has_ended {
        with_body(response, |_| Body::from(start.clone()))
    } else {
        with_body(response, |rest| {
            let start = Some(start.clone());
            Body::wrap(Resumed { start, rest })
        })
    };
    Ok((held, start))
}

fn is_event_stream(response: &Response) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE);
    content_type.is_some_and(|value| {
        let value = value.as_bytes();
        let name = b"text/event-stream";
        value.len() >= name.len() && value[..name.len()].eq_ignore_ascii_case(name)
    })
}

/// The same response, its address included, with another body.
fn with_body(response: Response, body: impl FnOnce(Body) -> Body) -> Response {
    let url = response.url().clone();
    let (mut parts, rest) = http::Response::<Body>::from(response).into_parts();
    // There is no other way to say where a response is from.
    if let Ok(place) = http::Response::builder().url(url).body(()) {
        parts.extensions.extend(place.into_parts().0.extensions);
    }
    http::Response::from_parts(parts, body(rest)).into()
}

/// What was read already, and then the rest.
struct Resumed {
    start: Option<Bytes>,
    rest: Body,
}

impl http_body::Body for Resumed {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        match self.start.take() {
            Some(start) => Poll::Ready(Some(Ok(Frame::data(start)))),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.start.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let start = self.start.as_ref().map_or(0, Bytes::len) as u64;
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(start));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(start));
        }
        hint
    }
}
