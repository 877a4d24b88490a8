//! What is sent to the server.
//!
//! A statement is prepared on its connection, and its values are sent beside it. Where connections
//! keep no prepared statements it is one message of the simple query protocol, with its values
//! written into the text: one round trip, and nothing that a proxy in between would have to
//! remember. What is written there is digits, hexadecimal or decimal, and nothing else.

use std::{sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, Encode, Executor, PgPool, Postgres, Row, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{
        PgArgumentBuffer, PgTypeInfo,
        types::{Oid, PgInterval},
    },
};

use super::{
    answer::{Failure, Foreign, Verdict, verdict},
    table::Table,
};
use crate::core::{
    policy::OnLost,
    record::{Claim, OwnerToken, RecordId},
    response::StoredResponse,
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
    /// What comes before and after the values, which are put in brackets.
    written: [String; 2],
    /// With placeholders; `None` where the connections keep no prepared statements.
    named: Option<Arc<str>>,
}

impl Statements {
    pub(super) fn new(table: &Table, named: bool) -> Self {
        let form = |function: &str, placeholders: &str, [before, after]: [&str; 2]| {
            let function = table.quoted(function);
            let named = named.then(|| format!("SELECT {function}({placeholders})").into());
            let written = [format!("SELECT {before}{function}"), after.to_owned()];
            Form { written, named }
        };
        // As digits, because how else bytes are written is a setting of the connection.
        let hex = ["encode(", ", 'hex')"];
        Self {
            claim: form("_claim", "$1, $2, $3, $4, $5, $6, $7", hex),
            complete: form("_complete", "$1, $2, $3, $4, $5", hex),
            release: form("_release", "$1, $2", ["", ""]),
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
                .bind(Owner(claim.owner))
                .bind(interval(claim.lease))
                .bind(interval(lost_for(claim)))
                .bind(interval(claim.ttl))
                .bind(claim.takes_over)
                .fetch_one(pool)
                .await?
        } else {
            let mut text = Text::new(&self.claim.written[0], 0);
            text.bytes(claim.id.as_bytes());
            text.bytes(claim.fingerprint.as_bytes());
            text.owner(claim);
            text.duration(claim.lease);
            text.duration(lost_for(claim));
            text.duration(claim.ttl);
            text.value(if claim.takes_over { "true" } else { "false" });
            let text = text.end() + &self.claim.written[1];
            sqlx::raw_sql(AssertSqlSafe(text)).fetch_one(pool).await?
        };
        verdict(&row, self.claim.named.is_some(), &claim.id)
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
                .bind(Owner(claim.owner))
                .bind(interval(claim.ttl))
                .bind(response.to_durable(&claim.id, &claim.fingerprint))
                .fetch_one(executor)
                .await?
        } else {
            let response = response.to_durable(&claim.id, &claim.fingerprint);
            let mut text = Text::new(&self.complete.written[0], response.len());
            text.bytes(claim.id.as_bytes());
            text.bytes(claim.fingerprint.as_bytes());
            text.owner(claim);
            text.duration(claim.ttl);
            text.bytes(&response);
            let text = text.end() + &self.complete.written[1];
            sqlx::raw_sql(AssertSqlSafe(text))
                .fetch_one(executor)
                .await?
        };
        verdict(&row, self.complete.named.is_some(), &claim.id)
    }

    pub(super) async fn release(
        &self,
        pool: &PgPool,
        claim: &Claim,
    ) -> Result<Verdict<Foreign>, Failure> {
        let row = if let Some(named) = &self.release.named {
            sqlx::query(AssertSqlSafe(Arc::clone(named)))
                .bind(&claim.id.as_bytes()[..])
                .bind(Owner(claim.owner))
                .fetch_one(pool)
                .await?
        } else {
            let mut text = Text::new(&self.release.written[0], 0);
            text.bytes(claim.id.as_bytes());
            text.owner(claim);
            let text = text.end() + &self.release.written[1];
            sqlx::raw_sql(AssertSqlSafe(text)).fetch_one(pool).await?
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
pub(super) struct Text(String);

impl Text {
    pub(super) fn new(start: &str, room: usize) -> Self {
        let mut text = String::with_capacity(start.len() + 320 + room * 2);
        text.push_str(start);
        text.push('(');
        Self(text)
    }

    pub(super) fn value(&mut self, value: &str) {
        if !self.0.ends_with('(') {
            self.0.push(',');
        }
        self.0.push_str(value);
    }

    /// In the form that does not depend on `standard_conforming_strings`.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        self.value("E'\\\\x");
        for byte in bytes {
            self.0.push(char::from(DIGITS[usize::from(byte >> 4)]));
            self.0.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        self.0.push_str("'::bytea");
    }

    fn owner(&mut self, claim: &Claim) {
        let owner = format!("{:032x}", claim.owner.get());
        self.value("'");
        self.0.push_str(&owner);
        self.0.push_str("'::uuid");
    }

    pub(super) fn duration(&mut self, duration: Duration) {
        self.value(&micros(duration).to_string());
        self.0.push_str("*interval'1us'");
    }

    pub(super) fn end(mut self) -> String {
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

/// An owner as a `uuid`.
struct Owner(OwnerToken);

impl Type<Postgres> for Owner {
    fn type_info() -> PgTypeInfo {
        const UUID: Oid = Oid(2950); // The same on every server.
        PgTypeInfo::with_oid(UUID)
    }
}

impl Encode<'_, Postgres> for Owner {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend(&self.0.get().to_be_bytes());
        Ok(IsNull::No)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.min(LONGEST).as_micros()).unwrap_or(i64::MAX)
}

fn interval(duration: Duration) -> PgInterval {
    PgInterval {
        microseconds: micros(duration),
        ..PgInterval::default()
    }
}

/// How long after its lease a claim stands in the way of others.
fn lost_for(claim: &Claim) -> Duration {
    match claim.on_lost {
        OnLost::Rerun => Duration::ZERO,
        OnLost::Refuse => claim.ttl,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fingerprint::Fingerprint;

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
        assert!(renew.contains("3162240000000000*interval'1us'"), "{renew}");
        let mut text = Text::new("", 0);
        text.bytes(claim.fingerprint.as_bytes());
        assert_eq!(text.end(), format!("(E'\\\\x{}'::bytea)", "27".repeat(32)));
    }
}
