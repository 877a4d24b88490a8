//! The statements that list claims.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqliteConnection, sqlite::SqliteArguments};

use super::{NOW, RUNNING_REFUSE, RUNNING_RERUN, bind, column, read};
use crate::{
    core::record::RecordId,
    store::{
        Cursor, Listing, Page, Which,
        sqlite::{failure::Failure, rules::millis},
    },
};

/// How many rows are looked at for one page.
const WINDOW: usize = 9_999;

pub(in crate::store::sqlite) struct ListingStatements {
    window: Arc<str>,
    list: [Arc<str>; 2],
}

impl ListingStatements {
    pub(super) fn new(table: &str) -> Self {
        Self {
            window: format!(
                "SELECT id FROM \"{table}\" WHERE id > ? ORDER BY id LIMIT 1 OFFSET {WINDOW}"
            )
            .into(),
            list: [
                "r.lease_until <= clock.now AND r.expires_at > clock.now",
                "r.lease_until > clock.now AND r.claimed_at <= clock.now - ?",
            ]
            .map(|which| {
                format!(
                    "SELECT clock.now, r.id, r.owner, r.fingerprint, r.state, r.lease_until, \
                     r.expires_at, NULL, r.claimed_at, r.attempts \
                     FROM (SELECT {NOW} AS now) AS clock JOIN \"{table}\" AS r \
                     WHERE r.id > ? AND r.id <= ? \
                     AND r.state IN ({RUNNING_RERUN}, {RUNNING_REFUSE}) \
                     AND r.response IS NULL AND {which} \
                     ORDER BY r.id LIMIT ?"
                )
                .into()
            }),
        }
    }

    /// The claims that are listed, among the next [`WINDOW`] rows. What cannot be read is left out.
    pub(in crate::store::sqlite) async fn list(
        &self,
        connection: &mut SqliteConnection,
        listing: &Listing,
        after: Option<RecordId>,
    ) -> Result<Page, Failure> {
        let after = after.as_ref().map_or(&[][..], |after| after.as_bytes());
        let mut arguments = SqliteArguments::default();
        bind(&mut arguments, after)?;
        let window = sqlx::query_with(AssertSqlSafe(Arc::clone(&self.window)), arguments)
            .fetch_optional(&mut *connection)
            .await
            .map_err(Failure::of("listing claims"))?;
        let end = match &window {
            Some(row) => column::<&[u8]>(row, 0)?.try_into().ok(),
            None => None,
        };
        let [lost, running] = &self.list;
        let mut arguments = SqliteArguments::default();
        let statement = match listing.which {
            Which::Lost => lost,
            Which::RunningFor(_) => running,
        };
        bind(&mut arguments, after)?;
        bind(&mut arguments, &end.unwrap_or([u8::MAX; 32])[..])?;
        if let Which::RunningFor(least) = listing.which {
            bind(&mut arguments, millis(least))?;
        }
        let limit = listing.limit.max(1);
        bind(&mut arguments, i64::try_from(limit).unwrap_or(i64::MAX))?;
        let rows = sqlx::query_with(AssertSqlSafe(Arc::clone(statement)), arguments)
            .fetch_all(connection)
            .await
            .map_err(Failure::of("listing claims"))?;
        let mut claims = Vec::with_capacity(rows.len());
        let mut next = end;
        for row in &rows {
            let Ok(id) = column::<&[u8]>(row, 1)?.try_into() else {
                continue;
            };
            if rows.len() >= limit {
                next = Some(id);
            }
            let (id, now) = (RecordId::from_bytes(id), column(row, 0)?);
            if let Ok(Ok(Some(claim))) = read(row).map(|row| row.inspect(&id, now)) {
                claims.push(claim);
            }
        }
        let next = next.map(|id| Cursor::Id(RecordId::from_bytes(id)));
        Ok(Page { claims, next })
    }
}
