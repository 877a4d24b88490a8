//! Handlers that do what a request's `x-plan` says, the same ones for both frameworks.

use std::{future::Future, io, pin::Pin};

use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder, dev::Payload, web};
use axum::{
    extract::{FromRequest, FromRequestParts},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use idempotent_runtime::{
    Execution, Recordable, Uncommitted, idempotent, store::DatabaseTransaction as _,
};
use serde::{Deserialize, de::DeserializeOwned};
use sqlx::Acquire as _;

use crate::{
    database::Transaction,
    world::{Panics, Plan, Streaming, Transact, World},
};

/// What every handler takes.
#[derive(Debug)]
pub struct Context {
    world: World,
    plan: Plan,
    execution: Execution,
}

/// The caller, as an extractor that refuses those it does not know (401) or does not like (403).
#[derive(Clone, Debug)]
pub struct User(pub String);

impl User {
    fn of(header: Option<&str>) -> Result<Self, u16> {
        match header {
            None => Err(401),
            Some(user) if user.starts_with("banned") => Err(403),
            Some(user) => Ok(Self(user.to_owned())),
        }
    }
}

/// The framework's own JSON extractor.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// A body in JSON.
#[derive(Debug, Deserialize)]
pub struct Payment {
    /// What counts.
    #[serde(default)]
    pub amount: i64,
    /// An identity that the sender gives.
    #[serde(default)]
    pub id: String,
}

/// What a middleware left behind after it verified the caller.
#[derive(Clone, Debug)]
pub struct Verified(pub String);

/// A response of either framework.
pub trait Reply: Recordable {
    /// Puts it together.
    fn assemble(status: u16, headers: &[(String, Vec<u8>)], content: Content) -> Self;
}

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, io::Error>> + Send>>;

/// The body of a response.
#[allow(missing_debug_implementations)]
pub enum Content {
    /// Known at once.
    Whole(Bytes),
    /// In chunks.
    Chunks(Chunks),
}

impl Reply for Response {
    fn assemble(status: u16, headers: &[(String, Vec<u8>)], content: Content) -> Self {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(name, &value[..]);
        }
        let body = match content {
            Content::Whole(whole) => axum::body::Body::from(whole),
            Content::Chunks(chunks) => axum::body::Body::from_stream(chunks),
        };
        response.body(body).unwrap()
    }
}

impl Reply for HttpResponse {
    fn assemble(status: u16, headers: &[(String, Vec<u8>)], content: Content) -> Self {
        use actix_web::http::{StatusCode, header::HeaderValue};

        let mut response = HttpResponseBuilder::new(StatusCode::from_u16(status).unwrap());
        for (name, value) in headers {
            response.append_header((&name[..], HeaderValue::from_bytes(value).unwrap()));
        }
        match content {
            Content::Whole(whole) => response.body(whole),
            Content::Chunks(chunks) => {
                // Without it actix-web says `application/octet-stream`.
                let has_type = headers.iter().any(|(name, _)| name == "content-type");
                if !has_type {
                    response.append_header(("content-type", "application/octet-stream"));
                }
                response.streaming(chunks)
            }
        }
    }
}

fn chunks(streaming: Streaming, world: World) -> Chunks {
    let Streaming {
        chunks,
        size,
        gate,
        fails,
    } = streaming;
    let data = stream::unfold(0, move |index| {
        let (world, gate) = (world.clone(), gate.clone());
        async move {
            if let Some((gated, gate)) = gate
                && gated == index
            {
                world.pass(&gate).await;
            }
            #[allow(clippy::cast_possible_truncation)]
            let letter = b'a' + (index % 26) as u8;
            (index < chunks).then(|| (Ok(Bytes::from(vec![letter; size])), index + 1))
        }
    });
    // Not chained unless it has to be: this stream panics when it is polled after its end.
    if !fails {
        return Box::pin(data);
    }
    Box::pin(data.chain(stream::iter([Err(io::Error::other("told to fail"))])))
}

/// Does what the plan says.
async fn perform<R: Reply>(context: Context, sent: impl AsRef<[u8]>) -> R {
    let Context {
        world,
        plan,
        execution,
    } = context;
    world.note(format!(
        "protected {}, key {:?}",
        execution.is_protected(),
        execution.key()
    ));
    world.note(format!("{execution:?}"));
    world.note(format!("task {:?}", tokio::task::try_id()));
    world.enter();
    if let Some(gate) = &plan.gate {
        world.pass(gate).await;
    }
    assert!(
        plan.panics != Some(Panics::Before),
        "told to panic before the effect"
    );
    if let Some(transact) = plan.transact {
        return in_transaction(&world, &execution, transact, plan.late_gate.as_deref()).await;
    }
    tracing::info!("a handler acts");
    let effect = if plan.release {
        execution.release();
        0
    } else {
        world.act()
    };
    assert!(
        plan.panics != Some(Panics::After),
        "told to panic after the effect"
    );
    let mut committed = None;
    if let Some((status, body)) = plan.commit {
        let body = match plan.stream.clone() {
            Some(streaming) => Content::Chunks(chunks(streaming, world.clone())),
            None => Content::Whole(body.into()),
        };
        let response = R::assemble(status, &plan.headers, body);
        match execution.commit(response).await {
            Ok(response) => committed = Some(response),
            Err(error) => {
                world.note(format!("{error:?}"));
                return text(500, error.to_string());
            }
        }
    }
    if plan.keep {
        world.keep(execution.clone());
    }
    if plan.commit_twice {
        match execution.commit(text::<R>(200, "second")).await {
            Ok(_) => world.note("committed twice"),
            Err(error) => world.note(format!("{error:?}")),
        }
    }
    if plan.release_late {
        execution.release();
    }
    if let Some(gate) = &plan.late_gate {
        world.pass(gate).await;
    }
    assert!(
        plan.panics != Some(Panics::Last),
        "told to panic after all else"
    );
    if plan.return_committed
        && let Some(committed) = committed
    {
        return committed;
    }
    let body = match (plan.stream, plan.body) {
        (Some(streaming), _) => Content::Chunks(chunks(streaming, world)),
        (None, _) if plan.echo => Content::Whole(Bytes::copy_from_slice(sent.as_ref())),
        (None, Some(body)) => Content::Whole(body.into()),
        (None, None) => Content::Whole(format!("effect {effect}").into()),
    };
    R::assemble(plan.status.unwrap_or(201), &plan.headers, body)
}

fn text<R: Reply>(status: u16, text: impl Into<Bytes>) -> R {
    R::assemble(status, &[], Content::Whole(text.into()))
}

/// Has an effect in a transaction, and its record with it.
async fn in_transaction<R: Reply>(
    world: &World,
    execution: &Execution,
    transact: Transact,
    gate: Option<&str>,
) -> R {
    if transact == Transact::Nested {
        return nested(world, execution).await;
    }
    let (mut transaction, written) = match write::<R>(world, execution, "first").await {
        Ok(written) => written,
        Err(error) => return error,
    };
    world.note("written");
    if let Some(gate) = gate {
        world.pass(gate).await;
    }
    let committed = match transact {
        Transact::Commit | Transact::ThenFail | Transact::ThenPanic | Transact::BreakAndCommit => {
            if transact == Transact::BreakAndCommit {
                transaction.fail().await;
            }
            match written.commit(transaction).await {
                Ok(response) => response,
                Err(error) => return text(error.status(), error.to_string()),
            }
        }
        Transact::CommitItself | Transact::Again => {
            drop(written);
            transaction.commit().await.unwrap();
            text(500, "committed itself")
        }
        Transact::Forget => text(202, "forgotten"),
        Transact::Unavailable => text(503, "not done"),
        Transact::ReleaseItself => {
            drop(transaction);
            execution.release();
            text(500, "rolled back")
        }
        Transact::TwiceInOne => {
            let again = text::<R>(202, "again");
            match execution.commit_in(&mut transaction, again).await {
                Ok(_) => world.note("written twice"),
                Err(error) => world.note(format!("{error:?}")),
            }
            drop(transaction);
            text(500, "rolled back")
        }
        Transact::Nested => unreachable!("it is done elsewhere"),
        Transact::RollBackAndAgain => {
            drop(transaction);
            text(500, "rolled back")
        }
    };
    match transact {
        Transact::ThenFail => text(500, "after the commit"),
        Transact::ThenPanic => panic!("told to panic after the commit"),
        Transact::Again | Transact::RollBackAndAgain => {
            match write::<R>(world, execution, "second").await {
                Ok((transaction, written)) => written.commit(transaction).await.unwrap(),
                Err(error) => error,
            }
        }
        _ => committed,
    }
}

/// An effect and its record in a transaction within another one.
async fn nested<R: Reply>(world: &World, execution: &Execution) -> R {
    let (database, who) = world.database();
    macro_rules! within {
        ($outer:expr) => {{
            let mut outer = $outer;
            let mut inner = outer.begin().await.unwrap();
            sqlx::query("INSERT INTO effects (who) VALUES ($1)")
                .bind(who)
                .execute(&mut *inner)
                .await
                .unwrap();
            let written = execution
                .commit_in(&mut inner, text::<R>(201, "nested"))
                .await;
            match written.unwrap().commit(inner).await {
                Ok(response) => response,
                Err(error) => text(error.status(), error.to_string()),
            }
        }};
    }
    match database.begin().await {
        Transaction::Sqlite(outer) => within!(outer),
        Transaction::Postgres(outer) => within!(outer),
    }
}

/// An effect and its record in a transaction that is open.
async fn write<R: Reply>(
    world: &World,
    execution: &Execution,
    which: &'static str,
) -> Result<(Transaction, Uncommitted<R>), R> {
    let (database, who) = world.database();
    let mut transaction = database.begin().await;
    transaction.act(who).await;
    match execution
        .commit_in(&mut transaction, text(201, which))
        .await
    {
        Ok(written) => Ok((transaction, written)),
        Err(error) => {
            world.note(format!("{error:?}"));
            Err(text(500, error.to_string()))
        }
    }
}

fn plan(header: Option<&str>) -> Plan {
    header.map_or_else(Plan::default, |plan| serde_json::from_str(plan).unwrap())
}

impl<S: Send + Sync> FromRequestParts<S> for Context {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let Ok(execution) = Execution::from_request_parts(parts, state).await;
        Ok(Self {
            world: parts.extensions.get::<World>().unwrap().clone(),
            plan: plan(
                parts
                    .headers
                    .get("x-plan")
                    .map(|plan| plan.to_str().unwrap()),
            ),
            execution,
        })
    }
}

impl actix_web::FromRequest for Context {
    type Error = actix_web::Error;
    type Future = std::future::Ready<Result<Self, actix_web::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let execution =
            <Execution as actix_web::FromRequest>::from_request(request, payload).into_inner();
        let Ok(execution) = execution;
        std::future::ready(Ok(Self {
            world: request.app_data::<World>().unwrap().clone(),
            plan: plan(
                request
                    .headers()
                    .get("x-plan")
                    .map(|plan| plan.to_str().unwrap()),
            ),
            execution,
        }))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for User {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let user = parts
            .headers
            .get("x-user")
            .map(|user| user.to_str().unwrap());
        Self::of(user).map_err(|status| {
            let status = StatusCode::from_u16(status).unwrap();
            (status, "refused by the extractor").into_response()
        })
    }
}

impl actix_web::FromRequest for User {
    type Error = actix_web::Error;
    type Future = std::future::Ready<Result<Self, actix_web::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let user = request
            .headers()
            .get("x-user")
            .map(|user| user.to_str().unwrap());
        std::future::ready(Self::of(user).map_err(|status| {
            let status = actix_web::http::StatusCode::from_u16(status).unwrap();
            actix_web::error::InternalError::new("refused by the extractor", status).into()
        }))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = <axum::Json<T> as FromRequest<S>>::Rejection;

    async fn from_request(
        request: axum::extract::Request,
        state: &S,
    ) -> Result<Self, Self::Rejection> {
        let axum::Json(value) = axum::Json::from_request(request, state).await?;
        Ok(Self(value))
    }
}

impl<T: DeserializeOwned + 'static> actix_web::FromRequest for Json<T> {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, actix_web::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let value = web::Json::<T>::from_request(request, payload);
        Box::pin(async move { Ok(Self(value.await?.into_inner())) })
    }
}

macro_rules! handlers {
    ($(
        $(#[$attribute:meta])*
        $name:ident at $path:literal |$($argument:ident: $type:ty),*| $run:expr;
    )*) => {
        /// The handlers of axum.
        pub mod on_axum {
            use super::{Bytes, Context, Json, Payment, User, idempotent, perform};

            $(
                $(#[$attribute])*
                pub(super) async fn $name($($argument: $type),*) -> axum::response::Response {
                    $run.await
                }
            )*

            /// All of them.
            pub fn router() -> axum::Router {
                use axum::routing::{any, post};

                let nested = axum::Router::new().route("/pay", any(pay));
                axum::Router::new()
                    $(.route($path, any($name)))*
                    .route("/idempotency-keys", post(idempotent_runtime::axum::issue_key))
                    .nest("/tenants/{tenant}", nested)
                    .fallback(any(pay))
            }
        }

        /// The handlers of actix-web.
        pub mod on_actix {
            use super::{Bytes, Context, Json, Payment, User, idempotent, perform};
            use actix_web::web;

            $(
                $(#[$attribute])*
                pub(super) async fn $name($($argument: $type),*) -> actix_web::HttpResponse {
                    $run.await
                }
            )*

            /// All of them.
            pub fn configure(config: &mut web::ServiceConfig) {
                config
                    $(.route($path, web::route().to($name)))*
                    .route("/of-axum", web::route().to(super::on_axum::pay))
                    .route("/idempotency-keys", web::post().to(idempotent_runtime::actix::issue_key))
                    .service(web::scope("/tenants/{tenant}").route("/pay", web::route().to(pay)))
                    .default_service(web::route().to(pay));
            }
        }
    };
}

handlers! {
    bare at "/bare" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global")]
    pay at "/pay" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global")]
    item at "/items/{id}" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global")]
    no_body at "/no-body" |context: Context| perform(context, b"");

    #[idempotent(scope = "global")]
    json at "/json" |context: Context, user: User, body: Json<Payment>| {
        let _ = user;
        perform(context, body.0.amount.to_string())
    };

    #[idempotent(scope = "user")]
    of_user at "/scope/user" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "device")]
    of_device at "/scope/device" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "bearer")]
    of_bearer at "/scope/bearer" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "verified")]
    of_verified at "/scope/verified" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "path")]
    of_path at "/scope/path/{id}" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "unregistered")]
    of_nobody at "/scope/unregistered" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = user.0)]
    of_expression at "/scope/expression" |context: Context, user: User, body: Bytes| {
        let _ = user;
        perform(context, body)
    };

    #[idempotent(scope = "user", operation = "who", fingerprint = "none")]
    who_user at "/who/user" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "device", operation = "who", fingerprint = "none")]
    who_device at "/who/device" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = user.0, operation = "who", fingerprint = "none")]
    who_expression at "/who/expression" |context: Context, user: User, body: Bytes| {
        let _ = user;
        perform(context, body)
    };

    #[idempotent(scope = "global", operation = "shared")]
    shared_a at "/shared/a" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", operation = "shared")]
    shared_b at "/shared/b" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", operation = "shared, whatever", fingerprint = "none")]
    alike_a at "/alike/a" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", operation = "shared, whatever", fingerprint = "none")]
    alike_b at "/alike/b" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", key = "required")]
    key_required at "/key/required" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", key = "optional")]
    key_optional at "/key/optional" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "user", key = "derived")]
    key_derived at "/key/derived" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "user", key = "derived")]
    key_derived_no_body at "/key/derived-no-body" |context: Context| perform(context, b"");

    #[idempotent(scope = "global", key = payment.0.id)]
    key_expression at "/key/expression" |context: Context, payment: Json<Payment>| {
        perform(context, payment.0.amount.to_string())
    };

    #[idempotent(scope = "global", fingerprint = "request")]
    fp_request at "/fingerprint/request" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", fingerprint = "none")]
    fp_none at "/fingerprint/none" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", fingerprint = payment.0.amount)]
    fp_expression at "/fingerprint/expression" |context: Context, payment: Json<Payment>| {
        perform(context, payment.0.id)
    };

    #[idempotent(scope = "global", fingerprint = std::collections::BTreeMap::from([(vec![1], 2)]))]
    fp_unserialisable at "/fingerprint/unserialisable" |context: Context| perform(context, b"");

    #[idempotent(scope = "global", wait = "5m")]
    wait_long at "/wait/long" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", wait = "200ms")]
    wait_short at "/wait/short" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", wait = "5m", on_lost = "refuse")]
    wait_refuse at "/wait/refuse" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", release_on())]
    release_never at "/release/never" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", release_on(5xx))]
    release_5xx at "/release/5xx" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", release_on(409, 4xx))]
    release_4xx at "/release/4xx" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", release_on(418))]
    release_418 at "/release/418" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", store_down = "refuse")]
    down_refuse at "/down/refuse" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", store_down = "run")]
    down_run at "/down/run" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", max_response = "1KiB")]
    small at "/small" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", ttl = "1h")]
    ttl_hour at "/ttl/hour" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", on_lost = "rerun")]
    lost_rerun at "/lost/rerun" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", on_lost = "refuse", ttl = "1h")]
    lost_refuse at "/lost/refuse" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", lease = "1s")]
    lease_second at "/lease/second" |context: Context, body: Bytes| perform(context, body);

    #[idempotent(scope = "global", lease = "1s", on_lost = "refuse")]
    lease_refuse at "/lease/refuse" |context: Context, body: Bytes| perform(context, body);
}

/// What a middleware would have verified, taken from a header.
pub(crate) fn verify_axum(request: &mut axum::extract::Request) {
    let verified = request
        .headers()
        .get("x-verified")
        .map(|value| Verified(value.to_str().unwrap().to_owned()));
    if let Some(verified) = verified {
        request.extensions_mut().insert(verified);
    }
}

/// See [`verify_axum`].
pub(crate) fn verify_actix(request: &actix_web::dev::ServiceRequest) {
    let verified = request
        .headers()
        .get("x-verified")
        .map(|value| Verified(value.to_str().unwrap().to_owned()));
    if let Some(verified) = verified {
        request.extensions_mut().insert(verified);
    }
}
