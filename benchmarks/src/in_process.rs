//! Applications that are called in this process, without a socket.

use std::{cell::Cell, hint::black_box, rc::Rc};

use actix_web::{
    Error,
    body::MessageBody,
    cookie::Key,
    dev::{Service, ServiceResponse},
    test::{TestRequest, init_service, read_body},
};
use axum::{Router, body::Body, http::Request};
use tokio::runtime::Runtime;
use tower_service::Service as _;

use crate::{
    apps::{self, CALLER, actix::Sessions},
    payment::{BODY, LOGIN, PAYMENTS},
    system::System,
};

/// One request.
pub(crate) struct Call {
    /// The caller's session; empty where there are none.
    pub(crate) session: Rc<str>,
    pub(crate) key: Option<String>,
}

/// The sessions that a batch has begun.
type Send = Box<dyn Fn(&Runtime, &str, &[Call]) -> Vec<String>>;

/// A system, and what it takes to call it.
pub(crate) struct InProcess {
    pub(crate) system: System,
    runtime: Runtime,
    send: Send,
    /// Only `actix-idempotent` has them.
    sessions: Sessions,
}

impl InProcess {
    pub(crate) fn new(system: System) -> Self {
        let runtime = crate::runtime();
        let sessions = Sessions::default();
        let send = match system {
            System::BareActix => runtime.block_on(async {
                let app = apps::actix::bare();
                actix(init_service(app).await)
            }),
            System::Actix => runtime.block_on(async {
                let app = apps::actix::this_one(apps::actix::idempotency());
                actix(init_service(app).await)
            }),
            System::ActixIdempotent => runtime.block_on(async {
                let app = apps::actix::actix_idempotent(sessions.clone(), Key::generate());
                actix(init_service(app).await)
            }),
            system => runtime.block_on(async { axum(apps::axum::router(system)) }),
        };
        Self {
            system,
            runtime,
            send,
            sessions,
        }
    }

    /// Makes these payments, one after the other.
    pub(crate) fn pay(&self, calls: &[Call]) {
        (self.send)(&self.runtime, PAYMENTS, calls);
    }

    /// A caller, who has a session if the system wants one.
    pub(crate) fn login(&self) -> Rc<str> {
        if !self.system.has_sessions() {
            return Rc::from("");
        }
        let nobody = Call {
            session: Rc::from(""),
            key: None,
        };
        let begun = (self.send)(&self.runtime, LOGIN, &[nobody]);
        let session = begun.first().expect("a login sets a cookie");
        Rc::from(session.as_str())
    }

    /// Gives a session so many records without requests, where that can be done.
    pub(crate) fn fill(&self, records: u64) {
        self.sessions.fill(records);
    }
}

fn axum(router: Router) -> Send {
    Box::new(move |runtime, path, calls| {
        runtime.block_on(async {
            let mut begun = Vec::new();
            for call in calls {
                let mut request = Request::builder()
                    .method("POST")
                    .uri(path)
                    .header("content-type", "application/json")
                    .header(CALLER, "alice");
                if !call.session.is_empty() {
                    request = request.header("cookie", &*call.session);
                }
                if let Some(key) = &call.key {
                    request = request.header("idempotency-key", key);
                }
                let request = request.body(Body::from(BODY)).expect("a request");
                let response = router.clone().call(request).await.expect("a response");
                assert_eq!(response.status().as_u16(), 201, "{path}");
                if path == LOGIN {
                    let cookie = response.headers().get("set-cookie").expect("a cookie");
                    begun.push(session(cookie.to_str().expect("a cookie")));
                }
                let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
                black_box(body.expect("a body"));
            }
            begun
        })
    })
}

fn actix<B: MessageBody>(
    app: impl Service<actix_http::Request, Response = ServiceResponse<B>, Error = Error> + 'static,
) -> Send {
    Box::new(move |runtime, path, calls| {
        runtime.block_on(async {
            let mut begun = Vec::new();
            for call in calls {
                let mut request = TestRequest::post()
                    .uri(path)
                    .insert_header(("content-type", "application/json"))
                    .insert_header((CALLER, "alice"))
                    .set_payload(BODY);
                if !call.session.is_empty() {
                    request = request.insert_header(("cookie", &*call.session));
                }
                if let Some(key) = &call.key {
                    request = request.insert_header(("idempotency-key", key.as_str()));
                }
                let response = app.call(request.to_request()).await.expect("a response");
                assert_eq!(response.status().as_u16(), 201, "{path}");
                if path == LOGIN {
                    let cookie = response.headers().get("set-cookie").expect("a cookie");
                    begun.push(session(cookie.to_str().expect("a cookie")));
                }
                black_box(read_body(response).await);
            }
            begun
        })
    })
}

/// What a client sends back of a cookie.
pub(crate) fn session(set_cookie: &str) -> String {
    set_cookie.split(';').next().unwrap_or_default().to_owned()
}

/// A key as clients send it, 36 characters, and never one that was there before.
pub(crate) fn fresh_key() -> String {
    thread_local!(static NEXT: Cell<u64> = const { Cell::new(1) });
    let number = NEXT.replace(NEXT.get() + 1);
    format!("{number:08x}-0000-4000-8000-000000000000")
}
