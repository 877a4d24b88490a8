//! Bodies that do not come, that do not end, and that are too large.

use std::{io, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::sleep};

use super::{Scale, Told};
use crate::{
    Failure,
    http::{Answer, Connection, head},
    process::Server,
};

/// How long slow bodies go on for.
const BYTES: usize = 8;

/// A byte a second of a body that is said to be longer, and then the connection is closed.
pub(super) async fn slow(server: &Server, scale: Scale) -> Result<Told, Failure> {
    let told = Arc::new(Told::default());
    let address = server.address;
    let bytes = if scale.connections < 500 { 2 } else { BYTES };
    let mut clients = JoinSet::new();
    for number in 0..scale.connections {
        let told = Arc::clone(&told);
        clients.spawn(async move {
            let headers = format!("Idempotency-Key: slow-{number}\r\nContent-Length: 1000\r\n");
            let mut connection = Connection::open(address).await?;
            connection.send(&head("/pay", "slow", &headers)).await?;
            for _ in 0..bytes {
                connection.send(b"1").await?;
                sleep(Duration::from_secs(1)).await;
            }
            told.add("no answer");
            Ok::<_, io::Error>(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended?.map_err(|error| format!("a slow body broke off: {error}"))?;
    }
    Ok(Arc::into_inner(told).ok_or("all clients have ended")?)
}

/// Chunks until there is an answer, and for longer.
pub(super) async fn endless(server: &Server, scale: Scale) -> Result<Told, Failure> {
    each(server, scale, |mut connection, number| async move {
        let headers =
            format!("Idempotency-Key: endless-{number}\r\nTransfer-Encoding: chunked\r\n");
        connection.send(&head("/pay", "endless", &headers)).await?;
        let chunk = [b"4000\r\n", &[b'1'; 0x4000][..], b"\r\n"].concat();
        // Half of them go on after the answer, which the server must not wait for.
        for _ in 0..1024 {
            let is_answered = number % 2 == 0 && connection.is_answered();
            if is_answered || connection.send(&chunk).await.is_err() {
                break;
            }
        }
        connection.answer().await
    })
    .await
}

/// As much as a body is said to have, which is far too much.
pub(super) async fn huge(server: &Server, scale: Scale) -> Result<Told, Failure> {
    each(server, scale, |mut connection, number| async move {
        let headers = format!("Idempotency-Key: huge-{number}\r\nContent-Length: 10000000000\r\n");
        connection.send(&head("/pay", "huge", &headers)).await?;
        // Whether or not that is read, the answer may be there already.
        let _ = connection.send(&vec![b'1'; 256 << 10]).await;
        connection.answer().await
    })
    .await
}

/// Gives so many clients at the same time a connection for each request.
pub(super) async fn each<F>(
    server: &Server,
    scale: Scale,
    ask: impl Fn(Connection, usize) -> F + Clone + Send + 'static,
) -> Result<Told, Failure>
where
    F: Future<Output = io::Result<Answer>> + Send,
{
    let told = Arc::new(Told::default());
    let address = server.address;
    let mut clients = JoinSet::new();
    for client in 0..scale.connections {
        let (told, ask) = (Arc::clone(&told), ask.clone());
        clients.spawn(async move {
            for number in (client..scale.requests).step_by(scale.connections) {
                let answer = match Connection::open(address).await {
                    Ok(connection) => ask(connection, number).await,
                    Err(error) => Err(error),
                };
                told.note(answer.as_ref().map_err(|error| error.kind().into()));
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended?;
    }
    Ok(Arc::into_inner(told).ok_or("all clients have ended")?)
}
