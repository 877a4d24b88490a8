//! What handlers do: what a request's plan says.

use std::{io, pin::Pin};

use actix_web::{HttpResponse, HttpResponseBuilder};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use idempotent_runtime::{Execution, Recordable, Uncommitted, store::DatabaseTransaction as _};
use sqlx::Acquire as _;

use crate::{
    database::Transaction,
    extract::Context,
    world::{Panics, Streaming, Transact, World},
};

/// A response of either framework.
pub(crate) trait Reply: Recordable {
    /// Puts it together.
    fn assemble(status: u16, headers: &[(String, Vec<u8>)], content: Content) -> Self;
}

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, io::Error>> + Send>>;

/// The body of a response.
pub(crate) enum Content {
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
pub(crate) async fn perform<R: Reply>(context: Context, sent: impl AsRef<[u8]>) -> R {
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
