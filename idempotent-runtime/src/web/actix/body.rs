//! The body of a request to actix-web, which the handler's extractor reads once more.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::{
    Error, FromRequest, HttpRequest,
    dev::Payload,
    error::PayloadError,
    http::{
        StatusCode,
        header::{CONTENT_ENCODING, CONTENT_LENGTH},
    },
};
use bytes::{Bytes, BytesMut};

/// Reads the body as it was sent, under the limit of `PayloadConfig`.
pub(super) async fn read(request: &HttpRequest, mut payload: Payload) -> Result<Bytes, Error> {
    if !request.headers().contains_key(CONTENT_ENCODING) {
        return Bytes::from_request(request, &mut payload).await;
    }
    // actix-web's own reader, which knows the limit, may undo the encoding. The handler's
    // extractor will do so too, so it must be given what was sent.
    let sent = Rc::new(RefCell::new(BytesMut::new()));
    let copied = Copied {
        payload,
        copy: Rc::clone(&sent),
        most: if request.headers().contains_key(CONTENT_LENGTH) {
            usize::MAX
        } else {
            MOST_UNANNOUNCED
        },
    };
    let mut copied: Payload = Payload::Stream {
        payload: Box::pin(copied),
    };
    Bytes::from_request(request, &mut copied).await?;
    Ok(sent.take().freeze())
}

/// What an extractor reads of a body that is over the limit.
pub(super) struct TooLarge;

impl futures_core::Stream for TooLarge {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(Some(Err(PayloadError::Overflow)))
    }
}

/// How much is kept of a body that is encoded and whose length was not announced: the reader's limit
/// is for what comes out of it, which may be nothing for ever. It is actix-web's own limit.
const MOST_UNANNOUNCED: usize = 256 * 1024;

/// A payload that is copied while it is read.
struct Copied {
    payload: Payload,
    copy: Rc<RefCell<BytesMut>>,
    most: usize,
}

impl futures_core::Stream for Copied {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = std::task::ready!(Pin::new(&mut self.payload).poll_next(context));
        if let Some(Ok(chunk)) = &chunk {
            let mut copy = self.copy.borrow_mut();
            if chunk.len() > self.most.saturating_sub(copy.len()) {
                return Poll::Ready(Some(Err(PayloadError::Overflow)));
            }
            copy.extend_from_slice(chunk);
        }
        Poll::Ready(chunk)
    }
}

pub(super) fn is_over_limit(error: &Error) -> bool {
    error.as_response_error().status_code() == StatusCode::PAYLOAD_TOO_LARGE
}
