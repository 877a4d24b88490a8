//! The floor: handlers written by hand that do what the protocol makes unavoidable, and keep none
//! of its promises. Nothing is claimed, bounded, waited for, expired or run to its end.
//!
//! What is unavoidable for any request with a key: its body in one piece, the handler's own
//! extractors, and the hashes of what is asked for and of whose key it is. For a first execution
//! also a box for the run, the handler, its response taken apart, and an insertion into a map.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use idempotent_runtime::{Fingerprint, Key, RecordId, Scope};

/// What is kept of a response.
#[derive(Clone)]
pub(crate) struct Kept<H> {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) status: u16,
    pub(crate) headers: H,
    pub(crate) body: Bytes,
}

/// A map under a lock.
pub(crate) struct Records<H>(Mutex<HashMap<RecordId, Kept<H>>>);

impl<H> Default for Records<H> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<H: Clone> Records<H> {
    pub(crate) fn find(&self, id: &RecordId, fingerprint: Fingerprint) -> Option<Kept<H>> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = records.get(id)?;
        (kept.fingerprint == fingerprint).then(|| kept.clone())
    }

    pub(crate) fn keep(&self, id: RecordId, kept: Kept<H>) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.insert(id, kept);
    }
}

/// The two hashes of a request.
pub(crate) fn identify(
    method: &str,
    path: &str,
    key: &[u8],
    body: &[u8],
) -> (RecordId, Fingerprint) {
    let fingerprint = Fingerprint::of_request(method, path, None, body);
    let key = Key::from_header(key).expect("a key");
    let operation = [method, " ", "/payments"];
    let id = RecordId::new("", &operation, &Scope::global(), &key);
    (id, fingerprint)
}

pub(crate) mod axum {
    use std::sync::Arc;

    use axum::{
        Json,
        body::{Body, to_bytes},
        extract::{FromRequest, Request, State},
        http::{HeaderName, HeaderValue, StatusCode},
        response::{IntoResponse, Response},
    };

    use super::{Kept, identify};
    use crate::apps::Payment;

    /// Shared with every replay, which takes its headers from here.
    pub(crate) type Records = Arc<super::Records<Arc<[(HeaderName, HeaderValue)]>>>;

    pub(crate) async fn handler(State(records): State<Records>, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("a body");
        let key = parts.headers["idempotency-key"].as_bytes();
        let path = parts.uri.path();
        let (id, fingerprint) = identify(parts.method.as_str(), path, key, &body);
        let request = Request::from_parts(parts, Body::from(body));
        let payment = Json::<Payment>::from_request(request, &()).await;
        let payment = payment.expect("a payment");
        if let Some(kept) = records.find(&id, fingerprint) {
            return replay(&kept);
        }
        Box::pin(async move {
            let response = (StatusCode::CREATED, payment).into_response();
            let (parts, body) = response.into_parts();
            let body = to_bytes(body, usize::MAX).await.expect("a body");
            let headers = parts.headers.iter();
            let headers = headers.map(|(name, value)| (name.clone(), value.clone()));
            let kept = Kept {
                fingerprint,
                status: parts.status.as_u16(),
                headers: headers.collect(),
                body: body.clone(),
            };
            records.keep(id, kept);
            Response::from_parts(parts, Body::from(body))
        })
        .await
    }

    fn replay(kept: &Kept<Arc<[(HeaderName, HeaderValue)]>>) -> Response {
        let mut response = Response::new(Body::from(kept.body.clone()));
        *response.status_mut() = StatusCode::from_u16(kept.status).expect("a status");
        response.headers_mut().extend(kept.headers.iter().cloned());
        response
    }
}

pub(crate) mod actix {
    use std::rc::Rc;

    use actix_web::{
        FromRequest, HttpRequest, HttpResponse,
        body::{BoxBody, MessageBody},
        dev::Payload,
        http::{
            StatusCode,
            header::{HeaderName, HeaderValue},
        },
        web::{Bytes, Data, Json},
    };

    use super::{Kept, identify};
    use crate::apps::Payment;

    /// Shared with every replay, which takes its headers from here.
    pub(crate) type Records = super::Records<Rc<[(HeaderName, HeaderValue)]>>;

    pub(crate) async fn handler(
        request: HttpRequest,
        body: Bytes,
        records: Data<Records>,
    ) -> HttpResponse {
        let key = request.headers().get("idempotency-key").expect("a key");
        let method = request.method().as_str();
        let (id, fingerprint) = identify(method, request.path(), key.as_bytes(), &body);
        let mut payload = Payload::from(body);
        let payment = Json::<Payment>::from_request(&request, &mut payload).await;
        let payment = payment.expect("a payment");
        if let Some(kept) = records.find(&id, fingerprint) {
            return replay(&kept);
        }
        Box::pin(async move {
            let response = HttpResponse::Created().json(&*payment);
            let (response, body) = response.into_parts();
            let body = body.try_into_bytes().unwrap_or_default();
            let headers = response.headers().iter();
            let headers = headers.map(|(name, value)| (name.clone(), value.clone()));
            let kept = Kept {
                fingerprint,
                status: response.status().as_u16(),
                headers: headers.collect(),
                body: body.clone(),
            };
            records.keep(id, kept);
            response.set_body(BoxBody::new(body))
        })
        .await
    }

    fn replay(kept: &Kept<Rc<[(HeaderName, HeaderValue)]>>) -> HttpResponse {
        let status = StatusCode::from_u16(kept.status).expect("a status");
        let mut response = HttpResponse::new(status).set_body(BoxBody::new(kept.body.clone()));
        for (name, value) in kept.headers.iter() {
            response.headers_mut().append(name.clone(), value.clone());
        }
        response
    }
}
