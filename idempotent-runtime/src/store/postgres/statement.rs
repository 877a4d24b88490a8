//! What is sent to the server, and what comes back.
//!
//! A statement is prepared on its connection, and its values are sent beside it. Where connections
//! keep no prepared statements it is one message of the simple query protocol, with its values
//! written into the text: one round trip, and nothing that a proxy in between would have to
//! remember. What is written there is digits, hexadecimal or decimal, and nothing else.

use std::{sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, Executor, PgPool, Postgres, Row, postgres::PgRow};

use super::table::Table;
use crate::{
    core::{
        fingerprint::Fingerprint,
        policy::OnLost,
        protocol::Found,
        record::{Claim, RecordId},
        response::StoredResponse,
    },
    store::StoreError,
};

/// What a server is asked for beyond it would overflow its calendar; 100 years.
const LONGEST: Duration = Duration::from_hours(100 * 366 * 24);

/// The statements on one table.
pub(super) struct Statements {
    claim: Form,
    complete: Form,
    release: Form,
    renew: String,
    watch: String,
    sweep_of: [String; 2],
    pub(super) ping: String,
}

/// One statement in both of its forms.
struct Form {
    /// Up to the values, which are put in brackets behind it.
    written: String,
    /// With placeholders; `None` where the connections keep no prepared statements.
    named: Option<Arc<str>>,
}

/// What the server said; `F` is what it says of what is in the way.
pub(super) enum Verdict<F = Found> {
    /// Done as asked.
    Passed,
    Found(F),
    /// The owner itself has recorded this before.
    Before(F),
    /// Somebody else is changing the row; with the fingerprint of what was there last.
    Again(Option<Fingerprint>),
}

/// What is in the way is somebody else's.
pub(super) struct Foreign;

impl From<Found> for Foreign {
    fn from(_: Found) -> Self {
        Self
    }
}

/// Why there is no verdict.
pub(super) enum Failure {
    Database(sqlx::Error),
    Unreadable(StoreError),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl Statements {
    pub(super) fn new(table: &Table, named: bool) -> Self {
        let form = |function: &str, columns: &str, hex: &str, placeholders: &str| Form {
            written: format!("SELECT {hex} FROM {}", table.quoted(function)),
            named: named.then(|| {
                let function = table.quoted(function);
                format!("SELECT {columns} FROM {function}({placeholders})").into()
            }),
        };
        let columns = "verdict, found_fingerprint, time_left, found_response";
        let hex = "verdict, encode(found_fingerprint, 'hex'), time_left, \
                   encode(found_response, 'hex')";
        Self {
            claim: form(
                "_claim",
                columns,
                hex,
                "$1, $2, $3::text::uuid, $4, $5, $6, $7",
            ),
            complete: form("_complete", columns, hex, "$1, $2, $3::text::uuid, $4, $5"),
            release: form("_release", "*", "*", "$1, $2::text::uuid"),
            renew: table.quoted("_renew"),
            watch: table.quoted("_watch"),
            sweep_of: [table.quoted(""), table.quoted("_awaited")],
            ping: format!("SELECT 1 FROM {} LIMIT 1", table.quoted("")),
        }
    }

    pub(super) async fn claim(&self, pool: &PgPool, claim: &Claim) -> Result<Verdict, Failure> {
        let row = if let Some(named) = &self.claim.named {
            sqlx::query(AssertSqlSafe(Arc::clone(named)))
                .bind(&claim.id.as_bytes()[..])
                .bind(&claim.fingerprint.as_bytes()[..])
                .bind(owner(claim))
                .bind(micros(claim.lease))
                .bind(micros(lost_for(claim)))
                .bind(micros(claim.ttl))
                .bind(claim.takes_over)
                .fetch_one(pool)
                .await?
        } else {
            let mut text = Text::new(&self.claim.written, 0);
            text.bytes(claim.id.as_bytes());
            text.bytes(claim.fingerprint.as_bytes());
            text.owner(claim);
            text.duration(claim.lease);
            text.duration(lost_for(claim));
            text.duration(claim.ttl);
            text.value(if claim.takes_over { "true" } else { "false" });
            sqlx::raw_sql(AssertSqlSafe(text.end()))
                .fetch_one(pool)
                .await?
        };
        verdict(&row, &claim.id, self.claim.named.is_some())
    }

    pub(super) async fn complete<'e>(
        &self,
        executor: impl Executor<'e, Database = Postgres>,
        claim: &Claim,
        response: &StoredResponse,
    ) -> Result<Verdict, Failure> {
        let row = if let Some(named) = &self.complete.named {
            sqlx::query(AssertSqlSafe(Arc::clone(named)))
                .bind(&claim.id.as_bytes()[..])
                .bind(&claim.fingerprint.as_bytes()[..])
                .bind(owner(claim))
                .bind(micros(claim.ttl))
                .bind(response.to_durable(&claim.id, &claim.fingerprint))
                .fetch_one(executor)
                .await?
        } else {
            let response = response.to_durable(&claim.id, &claim.fingerprint);
            let mut text = Text::new(&self.complete.written, response.len());
            text.bytes(claim.id.as_bytes());
            text.bytes(claim.fingerprint.as_bytes());
            text.owner(claim);
            text.duration(claim.ttl);
            text.bytes(&response);
            let text = AssertSqlSafe(text.end());
            sqlx::raw_sql(text).fetch_one(executor).await?
        };
        verdict(&row, &claim.id, self.complete.named.is_some())
    }

    pub(super) async fn release(
        &self,
        pool: &PgPool,
        claim: &Claim,
    ) -> Result<Verdict<Foreign>, Failure> {
        let row = if let Some(named) = &self.release.named {
            sqlx::query(AssertSqlSafe(Arc::clone(named)))
                .bind(&claim.id.as_bytes()[..])
                .bind(owner(claim))
                .fetch_one(pool)
                .await?
        } else {
            let mut text = Text::new(&self.release.written, 0);
            text.bytes(claim.id.as_bytes());
            text.owner(claim);
            sqlx::raw_sql(AssertSqlSafe(text.end()))
                .fetch_one(pool)
                .await?
        };
        Ok(match row.try_get(0)? {
            Some(true) => Verdict::Passed,
            Some(false) => Verdict::Found(Foreign),
            None => Verdict::Again(None),
        })
    }

    /// Renews many claims. The answers are rows of a number and whether the claim with that
    /// number was its owner's; nothing if it is, and could not be renewed now.
    pub(super) fn renew(&self, claims: &[Claim]) -> String {
        let Self { renew, .. } = self;
        let mut values = Values::default();
        for claim in claims {
            values.row(|text| {
                text.bytes(claim.id.as_bytes());
                text.owner(claim);
                text.duration(claim.lease);
                text.duration(lost_for(claim));
            });
        }
        format!(
            "SELECT number, {renew}(id, owner, lease, lost_for) \
             FROM (VALUES {values}) AS asked (number, id, owner, lease, lost_for)",
            values = values.text
        )
    }

    /// Watches many ids. The answers are rows of a number, what is left of the lease of the claim
    /// that runs under the id with that number, and whether its end will be notified.
    pub(super) fn watch(&self, ids: &[RecordId]) -> String {
        let Self { watch, .. } = self;
        let mut values = Values::default();
        for id in ids {
            values.row(|text| text.bytes(id.as_bytes()));
        }
        format!(
            "SELECT number, time_left, will_notify \
             FROM (VALUES {values}) AS asked (number, id), LATERAL {watch}(asked.id)",
            values = values.text
        )
    }

    /// Removes at most so many expired rows, and marks of claims that have ended, none that
    /// somebody else is at. Counts the rows.
    pub(super) fn sweep(&self, limit: u32) -> String {
        let [records, awaited] = &self.sweep_of;
        format!(
            "WITH unmarked AS (DELETE FROM {awaited} WHERE id = ANY (ARRAY(\
             SELECT id FROM {awaited} a WHERE NOT EXISTS (\
             SELECT FROM {records} r WHERE r.id = a.id AND r.response IS NULL) \
             LIMIT {limit} FOR UPDATE SKIP LOCKED))) \
             DELETE FROM {records} WHERE free_at BETWEEN 'epoch' AND now() AND id = ANY (ARRAY(\
             SELECT id FROM {records} WHERE sweep_at <= now() \
             AND free_at BETWEEN 'epoch' AND now() \
             ORDER BY sweep_at LIMIT {limit} FOR UPDATE SKIP LOCKED))"
        )
    }
}

/// The values of a call, being written. Nothing but digits and what this type adds gets in.
struct Text(String);

impl Text {
    fn new(start: &str, room: usize) -> Self {
        let mut text = String::with_capacity(start.len() + 320 + room * 2);
        text.push_str(start);
        text.push('(');
        Self(text)
    }

    fn value(&mut self, value: &str) {
        if !self.0.ends_with('(') {
            self.0.push(',');
        }
        self.0.push_str(value);
    }

    /// In the form that does not depend on `standard_conforming_strings`.
    fn bytes(&mut self, bytes: &[u8]) {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        self.value("E'\\\\x");
        for byte in bytes {
            self.0.push(char::from(DIGITS[usize::from(byte >> 4)]));
            self.0.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        self.0.push_str("'::bytea");
    }

    fn owner(&mut self, claim: &Claim) {
        self.value("'");
        self.0.push_str(&owner(claim));
        self.0.push_str("'::uuid");
    }

    fn duration(&mut self, duration: Duration) {
        self.value(&micros(duration).to_string());
        self.0.push_str("::bigint");
    }

    fn end(mut self) -> String {
        self.0.push(')');
        self.0
    }
}

/// Numbered rows of values.
#[derive(Default)]
struct Values {
    text: String,
    rows: usize,
}

impl Values {
    fn row(&mut self, write: impl FnOnce(&mut Text)) {
        if self.rows > 0 {
            self.text.push(',');
        }
        let mut text = Text::new("", 0);
        text.value(&self.rows.to_string());
        write(&mut text);
        self.text.push_str(&text.end());
        self.rows += 1;
    }
}

fn owner(claim: &Claim) -> String {
    format!("{:032x}", claim.owner.get())
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.min(LONGEST).as_micros()).unwrap_or(i64::MAX)
}

/// How long after its lease a claim stands in the way of others.
fn lost_for(claim: &Claim) -> Duration {
    match claim.on_lost {
        OnLost::Rerun => Duration::ZERO,
        OnLost::Refuse => claim.ttl,
    }
}

pub(super) fn time_left(micros: Option<i64>) -> Duration {
    Duration::from_micros(u64::try_from(micros.unwrap_or(0)).unwrap_or(0))
}

fn verdict(row: &PgRow, id: &RecordId, binary: bool) -> Result<Verdict, Failure> {
    const NO_FINGERPRINT: &str = "a row without a fingerprint of 32 bytes";
    let verdict: i32 = row.try_get(0)?;
    if verdict == 1 {
        // Whatever was there before, and however damaged, is over.
        return Ok(Verdict::Passed);
    }
    let fingerprint = match bytes(row, 1, binary)? {
        None => None,
        Some(bytes) => {
            let bytes = bytes.try_into();
            let bytes = bytes.map_err(|_| unreadable(NO_FINGERPRINT))?;
            Some(Fingerprint::from_bytes(bytes))
        }
    };
    let left = time_left(row.try_get(2)?);
    Ok(match (verdict, fingerprint) {
        (2, Some(fingerprint)) => Verdict::Found(Found::Running {
            fingerprint,
            lease_left: Some(left),
        }),
        (3 | 5, Some(fingerprint)) => {
            let response = bytes(row, 3, binary)?.unwrap_or_default();
            let found = Found::Done {
                fingerprint,
                response: StoredResponse::from_durable(response.into(), id, &fingerprint)
                    .map_err(unreadable)?,
                ttl_left: left,
            };
            if verdict == 5 {
                Verdict::Before(found)
            } else {
                Verdict::Found(found)
            }
        }
        (4, Some(fingerprint)) => Verdict::Found(Found::Lost { fingerprint }),
        (0, fingerprint) => Verdict::Again(fingerprint),
        (6, _) => return Err(unreadable("a row with a time that no clock shows")),
        _ => return Err(unreadable("an answer that this version does not know")),
    })
}

/// A column of bytes, which are hexadecimal digits where the values are text.
fn bytes(row: &PgRow, column: usize, binary: bool) -> Result<Option<Vec<u8>>, Failure> {
    if binary {
        return Ok(row.try_get(column)?);
    }
    let Some(digits) = row.try_get::<Option<&str>, _>(column)? else {
        return Ok(None);
    };
    let bytes = digits.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
        _ => None,
    });
    let bytes: Option<Vec<u8>> = bytes.collect();
    bytes
        .map(Some)
        .ok_or_else(|| unreadable("bytes that are not written as hexadecimal digits"))
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn unreadable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::Unreadable(StoreError::unreadable(source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::record::OwnerToken;

    #[test]
    fn values_are_digits() {
        let mut claim = Claim::new(
            RecordId::from_bytes([0xa7; 32]),
            OwnerToken::new(u128::MAX),
            Fingerprint::from_bytes([b'\''; 32]),
        );
        claim.lease = Duration::MAX;
        let statements = Statements::new(&Table::default(), false);
        let renew = statements.renew(&[claim, claim]);
        assert!(
            renew.contains(&format!("(1,E'\\\\x{}'::bytea,", "a7".repeat(32))),
            "{renew}"
        );
        assert!(renew.contains("3162240000000000::bigint"), "{renew}");
        let mut text = Text::new("", 0);
        text.bytes(claim.fingerprint.as_bytes());
        assert_eq!(text.end(), format!("(E'\\\\x{}'::bytea)", "27".repeat(32)));
    }
}
