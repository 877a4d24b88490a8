//! What is known of a call when its handler's extractors are through.

use std::pin::Pin;

use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, dev::Payload};
use bytes::Bytes;
use send_wrapper::SendWrapper;

use super::{
    body::{TooLarge, is_over_limit, read},
    reply::refused,
};
use crate::{
    execution::Execution,
    runtime::Idempotency,
    target::Target,
    web::{Call, CallHead, CallKind, Head, RequestHead, body_too_large, inspect},
};

impl<T, const SCOPE: u64, const KEYED: bool> FromRequest for Call<T, SCOPE, KEYED>
where
    T: FromRequest + 'static,
{
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let mut payload = payload.take();
        Box::pin(async move {
            let mut kind = look::<SCOPE, KEYED>(&request)?;
            let mut too_large = false;
            if let CallKind::Keyed(keyed) = &mut kind {
                payload = match read(&request, payload).await {
                    Ok(body) => {
                        keyed.body = body.clone();
                        Payload::from(body)
                    }
                    Err(error) if is_over_limit(&error) => {
                        too_large = true;
                        Payload::Stream {
                            payload: Box::pin(TooLarge),
                        }
                    }
                    Err(error) => return Err(error),
                };
            }
            let args = T::from_request(&request, &mut payload).await;
            if let CallKind::Keyed(keyed) = &mut kind {
                // Whoever takes the body leaves nothing in its place.
                let is_taken = matches!(payload, Payload::None);
                if is_taken && too_large {
                    return Err(refused(body_too_large(keyed)));
                }
                if !is_taken {
                    // It is not part of what was asked for.
                    keyed.body = Bytes::new();
                }
            }
            let args = args.map_err(Into::into)?;
            let head = CallHead {
                kind,
                actix: Some(SendWrapper::new(request)),
            };
            Ok(Self { head, args })
        })
    }
}

fn look<const SCOPE: u64, const KEYED: bool>(request: &HttpRequest) -> Result<CallKind, Error> {
    let kind = inspect::<SCOPE, KEYED>(
        RequestHead(Head::Actix(request)),
        request.app_data::<Idempotency>(),
        || Target::Actix {
            method: request.method().clone(),
            uri: request.uri().clone(),
            pattern: request.match_pattern(),
        },
    )
    .map_err(refused)?;
    if let CallKind::Keyed(keyed) = &kind {
        let execution = Execution(Some(keyed.state.clone()));
        request.extensions_mut().insert(execution);
    }
    Ok(kind)
}

impl FromRequest for Execution {
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let execution = request.extensions().get::<Self>().cloned();
        std::future::ready(Ok(execution.unwrap_or(Self(None))))
    }
}
