//! Hearing of ends of claims that somebody in this process waits for.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, Row,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{
    sync::mpsc::WeakUnboundedSender,
    time::{Instant, sleep, timeout},
};

use super::attendant::{IDLE, Shared, Task};
use crate::core::record::RecordId;

/// The first and the longest pause before another connection is made.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(30)];
/// What a connection that listens is marked with from its start.
const MARK: &str = "idempotency.listener";
/// How often one who does not hear asks again whether it does, and one who does whether anybody
/// still wants it to.
const TICK: Duration = Duration::from_secs(5);

/// Listens whenever somebody waits, for as long as the thread runs.
pub(super) async fn listen(shared: Arc<Shared>, tasks: WeakUnboundedSender<Task>) {
    let [first, longest] = PAUSES;
    let mut pause = first;
    loop {
        shared.watched.begun().await;
        let heard = hear(&shared, &tasks).await;
        if shared.hearing.swap(false, Ordering::AcqRel) {
            pause = first;
        }
        shared.watched.poll_all();
        tell(&tasks, Task::Look);
        if let Err(error) = heard {
            // Once, and not again for every attempt.
            if pause == first {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "ends of claims are not notified for now; waiters look for them",
                );
            }
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }
}

/// Listens on one connection until it is lost, or nobody has been waiting for a while.
async fn hear(shared: &Shared, tasks: &WeakUnboundedSender<Task>) -> Result<(), sqlx::Error> {
    let connecting = &shared.connecting;
    let probe = format!("probe {:016x}", RandomState::new().hash_one(0));
    // The driver has a connection that listens only as one of a pool.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(connecting.timeout)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with(connecting.options().options([(MARK, mark(&probe))]));
    // A proxy that shares connections must not be sent LISTEN: what is then heard is told to
    // whoever has that connection at the time, and upsets them. Such a proxy does not pass the
    // mark on.
    let mut listener = timeout(connecting.timeout, async {
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        let marked = format!("SELECT coalesce(current_setting('{MARK}', true), '')");
        let marked = sqlx::raw_sql(AssertSqlSafe(marked));
        let marked = marked.fetch_one(&mut listener).await?;
        if marked.try_get::<&str, _>(0)? != mark(&probe) {
            return Err(failed("the connection goes through a proxy"));
        }
        listener.listen(connecting.table.channel()).await?;
        Ok(listener)
    })
    .await
    .map_err(|_| failed("the server did not answer in time"))??;
    // What this very process says on its other connection proves the way.
    tell(tasks, Task::Probe(probe.clone()));
    let mut last_wanted = Instant::now();
    loop {
        match timeout(TICK, listener.try_recv()).await {
            Ok(heard) => match heard? {
                None => return Err(failed("the connection is lost")),
                Some(notification) if notification.payload() == probe => {
                    shared.hearing.store(true, Ordering::Release);
                }
                Some(notification) => {
                    if let Some(id) = record_id(notification.payload()) {
                        shared.watched.ring(&id);
                    }
                }
            },
            Err(_) if !shared.watched.is_empty() => {
                last_wanted = Instant::now();
                if !shared.hearing.load(Ordering::Acquire) {
                    tell(tasks, Task::Probe(probe.clone()));
                }
            }
            Err(_) if last_wanted.elapsed() >= IDLE => return Ok(()),
            Err(_) => {}
        }
    }
}

fn tell(tasks: &WeakUnboundedSender<Task>, task: Task) {
    // Without anybody to tell, the thread is about to end.
    if let Some(tasks) = tasks.upgrade() {
        let _ = tasks.send(task);
    }
}

fn record_id(payload: &str) -> Option<RecordId> {
    let mut id = [0; 32];
    if payload.len() != 64 {
        return None;
    }
    for (byte, digits) in id.iter_mut().zip(payload.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(RecordId::from_bytes(id))
}

/// The part of a probe that needs no quotes.
fn mark(probe: &str) -> &str {
    probe.rsplit(' ').next().unwrap_or(probe)
}

fn failed(why: &str) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::other(why))
}
