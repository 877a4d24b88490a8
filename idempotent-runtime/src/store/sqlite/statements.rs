//! The statements for one table.
//!
//! A batch is read by one statement and written by at most two, whatever its verbs are: every
//! statement costs a change of threads in the driver, and that is most of what a row costs. A
//! statement exists in a few sizes, so that it stays prepared; parameters that are not given are
//! NULL, which is no id.

mod listing;

use std::{collections::HashMap, fmt::Write, sync::Arc};

use bytes::Bytes;
use sqlx::{
    Arguments, AssertSqlSafe, Row as _, SqliteConnection,
    sqlite::{SqliteArguments, SqliteRow},
};

use self::listing::ListingStatements;
use super::{
    failure::Failure,
    rules::{Millis, Row, State},
};
use crate::core::{
    fingerprint::Fingerprint,
    policy::OnLost,
    record::{OwnerToken, RecordId},
};

/// How many rows a statement reads or writes, at most.
const SIZES: [usize; 5] = [1, 4, 16, 64, MAX_ROWS];
pub(super) const MAX_ROWS: usize = 256;

const SCHEMA: &str = include_str!("../../../sql/sqlite.sql");
const TABLE_IN_SCHEMA: &str = "idempotency_records";

/// Milliseconds since 1970. The same clock for all processes on the machine that share the file.
const NOW: &str = "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)";

const RUNNING_RERUN: i64 = 1;
const RUNNING_REFUSE: i64 = 2;
const DONE: i64 = 3;

/// What is under an id, or why it cannot be read.
pub(super) type Slot = Result<Option<Row>, &'static str>;

/// What was read in one look.
pub(super) struct Seen {
    pub(super) now: Millis,
    pub(super) slots: HashMap<RecordId, Slot>,
}

pub(super) struct Statements {
    schema: Arc<str>,
    load: [Arc<str>; SIZES.len()],
    save_and_commit: [Arc<str>; SIZES.len()],
    remove: [Arc<str>; SIZES.len()],
    sweep: Arc<str>,
    record: Arc<str>,
    ping: Arc<str>,
    columns: [Arc<str>; 3],
    pub(super) listing: ListingStatements,
}

impl Statements {
    /// `table` is a checked name.
    pub(super) fn new(table: &str) -> Self {
        let load = |size| {
            format!(
                "SELECT clock.now, r.id, r.owner, r.fingerprint, r.state, r.lease_until, \
                 r.expires_at, r.response, r.claimed_at, r.attempts \
                 FROM (SELECT {NOW} AS now) AS clock \
                 LEFT JOIN \"{table}\" AS r ON r.id IN ({})",
                repeated("?", size)
            )
        };
        Self {
            schema: SCHEMA.replace(TABLE_IN_SCHEMA, table).into(),
            load: SIZES.map(|size| load(size).into()),
            save_and_commit: SIZES.map(|size| {
                format!(
                    "INSERT INTO \"{table}\" \
                     (id, owner, fingerprint, state, lease_until, expires_at, response, \
                     claimed_at, attempts) \
                     SELECT * FROM (VALUES {}) WHERE column1 IS NOT NULL \
                     ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, \
                     fingerprint = excluded.fingerprint, state = excluded.state, \
                     lease_until = excluded.lease_until, expires_at = excluded.expires_at, \
                     response = excluded.response, claimed_at = excluded.claimed_at, \
                     attempts = excluded.attempts; COMMIT",
                    repeated("(?, ?, ?, ?, ?, ?, ?, ?, ?)", size)
                )
                .into()
            }),
            remove: SIZES.map(|size| {
                let ids = repeated("?", size);
                format!("DELETE FROM \"{table}\" WHERE id IN ({ids})").into()
            }),
            sweep: format!(
                "DELETE FROM \"{table}\" WHERE rowid IN \
                 (SELECT rowid FROM \"{table}\" WHERE expires_at BETWEEN 1 AND {NOW} LIMIT ?)"
            )
            .into(),
            // What `rules::complete` says, as one statement, for a transaction that is not ours.
            record: format!(
                "INSERT INTO \"{table}\" AS r \
                 (id, owner, fingerprint, state, lease_until, expires_at, response) \
                 VALUES (?, ?, ?, {DONE}, {NOW}, {NOW} + ?, ?) \
                 ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, \
                 fingerprint = excluded.fingerprint, state = excluded.state, \
                 lease_until = excluded.lease_until, expires_at = excluded.expires_at, \
                 response = excluded.response, \
                 claimed_at = iif(r.owner = excluded.owner, r.claimed_at, NULL), \
                 attempts = iif(r.owner = excluded.owner, r.attempts, NULL) \
                 WHERE (r.owner = excluded.owner AND r.state <> {DONE} \
                 OR r.expires_at BETWEEN 1 AND {NOW}) \
                 AND r.state IN ({RUNNING_RERUN}, {RUNNING_REFUSE}, {DONE})"
            )
            .into(),
            ping: format!("SELECT 1 FROM \"{table}\" LIMIT 1").into(),
            columns: [
                format!("SELECT name FROM pragma_table_info('{table}')").into(),
                format!("ALTER TABLE \"{table}\" ADD COLUMN claimed_at INTEGER").into(),
                format!("ALTER TABLE \"{table}\" ADD COLUMN attempts INTEGER").into(),
            ],
            listing: ListingStatements::new(table),
        }
    }

    /// Creates the table and its index where they are not there, and in a table of an earlier
    /// version the columns that it lacks.
    pub(super) async fn migrate(&self, connection: &mut SqliteConnection) -> Result<(), Failure> {
        let failed = Failure::of("creating the table");
        sqlx::raw_sql(AssertSqlSafe(Arc::clone(&self.schema)))
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
        let [names, add @ ..] = &self.columns;
        let names = sqlx::query(AssertSqlSafe(Arc::clone(names)))
            .fetch_all(&mut *connection)
            .await
            .map_err(Failure::of("looking for columns"))?;
        let names: Vec<&str> = names.iter().filter_map(|row| row.try_get(0).ok()).collect();
        for (name, add) in ["claimed_at", "attempts"].into_iter().zip(add) {
            if !names.contains(&name) {
                run(connection, add, SqliteArguments::default()).await?;
            }
        }
        Ok(())
    }

    /// Reads the time and the rows of at most [`MAX_ROWS`] ids, as of one moment.
    pub(super) async fn load(
        &self,
        connection: &mut SqliteConnection,
        ids: &[RecordId],
    ) -> Result<Seen, Failure> {
        look(connection, &self.load[size_for(ids.len())], ids).await
    }

    /// Writes rows, whatever is under their ids, and commits.
    pub(super) async fn save_and_commit(
        &self,
        connection: &mut SqliteConnection,
        rows: &[(RecordId, &Row)],
    ) -> Result<(), Failure> {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(rows.len() * 9, 0);
        for (id, row) in rows {
            let (state, time, response) = match &row.state {
                State::Running {
                    lease_until,
                    on_lost,
                } => {
                    let state = match on_lost {
                        OnLost::Rerun => RUNNING_RERUN,
                        OnLost::Refuse => RUNNING_REFUSE,
                    };
                    (state, Some(*lease_until), None)
                }
                State::Done {
                    response,
                    completed_at,
                } => (DONE, *completed_at, Some(&response[..])),
            };
            bind(&mut arguments, &id.as_bytes()[..])?;
            bind(&mut arguments, &row.owner.get().to_be_bytes()[..])?;
            bind(&mut arguments, &row.fingerprint.as_bytes()[..])?;
            bind(&mut arguments, state)?;
            bind(&mut arguments, time)?;
            bind(&mut arguments, row.expires_at)?;
            bind(&mut arguments, response)?;
            bind(&mut arguments, row.claimed_at)?;
            bind(&mut arguments, row.attempts)?;
        }
        run(
            connection,
            &self.save_and_commit[size_for(rows.len())],
            arguments,
        )
        .await?;
        Ok(())
    }

    pub(super) async fn remove(
        &self,
        connection: &mut SqliteConnection,
        ids: &[RecordId],
    ) -> Result<(), Failure> {
        let mut arguments = SqliteArguments::default();
        for id in ids {
            bind(&mut arguments, &id.as_bytes()[..])?;
        }
        run(connection, &self.remove[size_for(ids.len())], arguments).await?;
        Ok(())
    }

    /// Removes at most `limit` rows that have expired, and gives their number.
    pub(super) async fn sweep(
        &self,
        connection: &mut SqliteConnection,
        limit: u64,
    ) -> Result<u64, Failure> {
        let mut arguments = SqliteArguments::default();
        bind(&mut arguments, i64::try_from(limit).unwrap_or(i64::MAX))?;
        run(connection, &self.sweep, arguments).await
    }

    /// Writes a record if the id is the owner's, or nobody's. Says whether it did.
    pub(super) async fn record(
        &self,
        connection: &mut SqliteConnection,
        id: &RecordId,
        owner: OwnerToken,
        fingerprint: &Fingerprint,
        ttl: Millis,
        response: &[u8],
    ) -> Result<bool, Failure> {
        let mut arguments = SqliteArguments::default();
        bind(&mut arguments, &id.as_bytes()[..])?;
        bind(&mut arguments, &owner.get().to_be_bytes()[..])?;
        bind(&mut arguments, &fingerprint.as_bytes()[..])?;
        bind(&mut arguments, ttl)?;
        bind(&mut arguments, response)?;
        Ok(run(connection, &self.record, arguments).await? > 0)
    }

    /// Looks whether the table can be read.
    pub(super) async fn ping(&self, connection: &mut SqliteConnection) -> Result<(), Failure> {
        run(connection, &self.ping, SqliteArguments::default()).await?;
        Ok(())
    }
}

async fn look(
    connection: &mut SqliteConnection,
    sql: &Arc<str>,
    ids: &[RecordId],
) -> Result<Seen, Failure> {
    let mut arguments = SqliteArguments::default();
    for id in ids {
        bind(&mut arguments, &id.as_bytes()[..])?;
    }
    let rows = sqlx::query_with(AssertSqlSafe(Arc::clone(sql)), arguments)
        .fetch_all(connection)
        .await
        .map_err(Failure::of("reading records"))?;
    let mut now = 0;
    let mut slots = HashMap::with_capacity(rows.len());
    for row in &rows {
        now = column(row, 0)?;
        // None of the ids has a row: the only one has but the time.
        let Some(id) = column::<Option<&[u8]>>(row, 1)? else {
            continue;
        };
        if let Ok(id) = id.try_into() {
            slots.insert(RecordId::from_bytes(id), read(row).map(Some));
        }
    }
    Ok(Seen { now, slots })
}

async fn run(
    connection: &mut SqliteConnection,
    sql: &Arc<str>,
    arguments: SqliteArguments,
) -> Result<u64, Failure> {
    let done = sqlx::query_with(AssertSqlSafe(Arc::clone(sql)), arguments)
        .execute(connection)
        .await
        .map_err(Failure::of("writing records"))?;
    Ok(done.rows_affected())
}

fn bind<'t, T>(arguments: &mut SqliteArguments, value: T) -> Result<(), Failure>
where
    T: sqlx::Encode<'t, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    arguments
        .add(value)
        .map_err(|error| Failure::of("binding a value")(sqlx::Error::Encode(error)))
}

fn column<'r, T>(row: &'r SqliteRow, index: usize) -> Result<T, Failure>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(index).map_err(Failure::of("reading a column"))
}

/// A row that is there. Somebody may have written to it, or the file may be damaged.
fn read(row: &SqliteRow) -> Result<Row, &'static str> {
    const NO_CLAIM: &str = "a claim has no lease, or a damaged one, or has a response";
    let bytes = |index| row.try_get::<&[u8], _>(index).ok();
    let number = |index| row.try_get::<i64, _>(index).ok();
    // No clock has ever shown another one: what has it must not be taken for expired.
    let time = |index| number(index).filter(|time| *time > 0);
    let owner = bytes(2).and_then(|owner| owner.try_into().ok());
    let fingerprint = bytes(3).and_then(|fingerprint| fingerprint.try_into().ok());
    // What has a response is a record, whatever it says of itself: a time it has, too, and would be
    // taken for a lost claim.
    let is_claim = matches!(row.try_get::<Option<&[u8]>, _>(7), Ok(None));
    let running = |on_lost| {
        let lease_until = time(5).filter(|_| is_claim);
        lease_until.map(|lease_until| State::Running {
            lease_until,
            on_lost,
        })
    };

    Ok(Row {
        owner: OwnerToken::new(u128::from_be_bytes(owner.ok_or("the owner is damaged")?)),
        fingerprint: Fingerprint::from_bytes(fingerprint.ok_or("the fingerprint is damaged")?),
        state: match number(4) {
            Some(RUNNING_RERUN) => running(OnLost::Rerun).ok_or(NO_CLAIM)?,
            Some(RUNNING_REFUSE) => running(OnLost::Refuse).ok_or(NO_CLAIM)?,
            Some(DONE) => {
                let response = bytes(7).ok_or("a record has no response")?;
                let response = Bytes::copy_from_slice(response);
                State::Done {
                    response,
                    completed_at: time(5),
                }
            }
            _ => return Err("the row is in a state that this version does not know"),
        },
        expires_at: time(6).ok_or("the time of expiry is damaged")?,
        // Only told to an operator; a row of an earlier version has neither, which reads as 0.
        claimed_at: time(8),
        attempts: number(9).filter(|attempts| *attempts > 0),
    })
}

/// The index of the smallest size that is large enough.
fn size_for(rows: usize) -> usize {
    let index = SIZES.iter().position(|size| rows <= *size);
    index.expect("nobody reads or writes more than `MAX_ROWS` at once")
}

fn repeated(what: &str, times: usize) -> String {
    let mut text = what.to_owned();
    for _ in 1..times {
        let _ = write!(text, ", {what}"); // Writing to a `String` does not fail.
    }
    text
}
