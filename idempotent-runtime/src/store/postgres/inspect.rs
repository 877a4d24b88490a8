//! The PostgreSQL store, looked at by an operator.
//!
//! Each question is one message of the simple query protocol, whatever the pool's connections do:
//! it is seldom asked, and nothing of it should stay prepared.

use std::{future::Future, pin::Pin, time::Duration};

use sqlx::{AssertSqlSafe, Row as _, postgres::PgRow};

use super::{PostgresStore, answer::nibble, statement::Text};
use crate::{
    clock::Timestamp,
    core::{fingerprint::Fingerprint, record::RecordId, response::StoredResponse},
    store::{
        Cursor, Forget, Forgotten, Inspect, Inspection, Listing, Page, RecordState, StoreError,
        Which,
    },
};

/// How many rows are looked at for one page of a listing.
const WINDOW: usize = 9_999;

impl Inspect for PostgresStore {
    fn inspect<'a>(
        &'a self,
        id: &'a RecordId,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Inspection>, StoreError>> + Send + 'a>> {
        Box::pin(async {
            let (columns, table) = (columns("r.response"), self.0.table.quoted(""));
            let sql = format!("SELECT {columns} FROM {table} r WHERE r.id = {}", text(id));
            let rows = self.rows(sql).await?;
            match rows.first() {
                Some(row) => read(row),
                None => Ok(None),
            }
        })
    }

    fn forget<'a>(
        &'a self,
        id: &'a RecordId,
        forget: Forget,
    ) -> Pin<Box<dyn Future<Output = Result<Forgotten, StoreError>> + Send + 'a>> {
        Box::pin(async move {
            let function = self.0.table.quoted("_forget");
            let even_done = forget >= Forget::EvenDone;
            let even_running = forget >= Forget::EvenRunning;
            let id = text(id);
            let sql = format!("SELECT {function}({id}, {even_done}, {even_running})::text");
            let rows = self.rows(sql).await?;
            let verdict = rows.first().and_then(|row| row.try_get(0).ok());
            match verdict {
                Some("0") => Ok(Forgotten::Absent),
                Some("1") => Ok(Forgotten::Removed),
                Some("2") => Ok(Forgotten::Running),
                Some("3") => Ok(Forgotten::Done),
                Some("6") => Err(damaged()),
                _ => Err(unknown()),
            }
        })
    }

    fn list<'a>(
        &'a self,
        listing: &'a Listing,
    ) -> Pin<Box<dyn Future<Output = Result<Page, StoreError>> + Send + 'a>> {
        Box::pin(async {
            let after = match &listing.after {
                None => "''::bytea".to_owned(),
                Some(Cursor::Id(id)) => text(id),
                Some(Cursor::Place(..)) => return Err(StoreError::Unsupported),
            };
            let table = self.0.table.quoted("");
            let window = self.rows(format!(
                "SELECT encode(id, 'hex') FROM {table} WHERE id > {after} \
                 ORDER BY id LIMIT 1 OFFSET {WINDOW}"
            ));
            let window = window.await?;
            let end = window.first().and_then(|row| id(row, 0));
            let before_end =
                end.map_or_else(String::new, |end| format!("AND r.id <= {}", text(&end)));
            let which = match listing.which {
                Which::Lost => "r.lease_ends <= now() AND r.free_at > now()".to_owned(),
                Which::RunningFor(least) => format!(
                    "r.lease_ends > now() AND r.claimed_at <= now() - {}",
                    interval(least)
                ),
            };
            let limit = listing.limit.max(1);
            let columns = columns("NULL::bytea");
            let rows = self.rows(format!(
                "SELECT {columns} FROM {table} r WHERE r.id > {after} {before_end} \
                 AND r.response IS NULL AND {which} ORDER BY r.id LIMIT {limit}"
            ));
            let rows = rows.await?;
            let last = rows.last().filter(|_| rows.len() >= limit);
            let next = last.map_or(end, |last| id(last, 0)).map(Cursor::Id);
            let read = rows.iter().filter_map(|row| read(row).ok().flatten());
            Ok(Page {
                claims: read.collect(),
                next,
            })
        })
    }
}

impl PostgresStore {
    /// The text holds nothing but digits and what this file says.
    async fn rows(&self, sql: String) -> Result<Vec<PgRow>, StoreError> {
        let asked = sqlx::raw_sql(AssertSqlSafe(sql));
        self.0.timed(asked.fetch_all(&self.0.pool)).await
    }
}

fn text(id: &RecordId) -> String {
    let mut text = Text::new("", 0);
    text.bytes(id.as_bytes());
    text.end()
}

fn interval(duration: Duration) -> String {
    let mut text = Text::new("", 0);
    text.duration(duration);
    text.end()
}

/// What is read of a row, each as text. Times are milliseconds; nothing where no clock shows them.
fn columns(response: &str) -> String {
    let millis = |time: &str| {
        format!(
            "CASE WHEN {time} BETWEEN 'epoch' AND '9999-12-31' \
             THEN floor(extract(epoch FROM {time}) * 1000)::bigint::text END"
        )
    };
    let times = [
        "clock_timestamp()",
        "r.lease_ends",
        "r.free_at",
        "r.claimed_at",
    ];
    format!(
        "encode(r.id, 'hex'), encode(r.fingerprint, 'hex'), encode({response}, 'hex'), \
         r.attempts::text, {}, {}",
        times.map(millis).join(", "),
        // When the record was completed: its ttl before its end.
        millis("(r.free_at - (r.sweep_at - r.claimed_at))"),
    )
}

fn read(row: &PgRow) -> Result<Option<Inspection>, StoreError> {
    let number = |index| digits(row, index)?.parse().ok();
    let time = |index| number(index).map(Timestamp::from_millis);
    let id = id(row, 0).ok_or_else(unknown)?;
    let fingerprint = bytes(row, 1).and_then(|bytes| bytes.try_into().ok());
    let fingerprint = Fingerprint::from_bytes(fingerprint.ok_or_else(damaged)?);
    let response = bytes(row, 2);
    let [now, lease_ends, free_at] = [time(4), time(5), time(6)];
    let now = now.ok_or_else(unknown)?;
    let (lease_ends, expires_at) = lease_ends.zip(free_at).ok_or_else(damaged)?;
    if expires_at <= now {
        return Ok(None);
    }
    let state = match response {
        Some(response) => RecordState::Done {
            completed_at: time(8),
            expires_at,
            response: StoredResponse::from_durable(response.into(), &id, &fingerprint)
                .map_err(StoreError::unreadable)?,
        },
        None if lease_ends > now => RecordState::Running {
            lease_ends: Some(lease_ends),
        },
        None => RecordState::Lost {
            since: lease_ends,
            expires_at,
        },
    };
    Ok(Some(Inspection {
        id,
        fingerprint,
        now,
        claimed_at: time(7),
        attempts: number(3).and_then(|attempts| u32::try_from(attempts).ok()),
        state,
    }))
}

fn digits(row: &PgRow, index: usize) -> Option<&str> {
    row.try_get(index).ok()
}

fn id(row: &PgRow, index: usize) -> Option<RecordId> {
    let bytes = bytes(row, index)?.try_into().ok()?;
    Some(RecordId::from_bytes(bytes))
}

fn bytes(row: &PgRow, index: usize) -> Option<Vec<u8>> {
    let pairs = digits(row, index)?.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
            _ => None,
        })
        .collect()
}

fn unknown() -> StoreError {
    StoreError::unreadable("an answer that this version does not know")
}

fn damaged() -> StoreError {
    StoreError::unreadable(
        "a row with a time that no clock shows, or without a fingerprint of 32 bytes",
    )
}
