//! What comes back from the server.

use std::time::Duration;

use bytes::Bytes;
use sqlx::{Row, postgres::PgRow};

use crate::{
    core::{fingerprint::Fingerprint, protocol::Found, record::RecordId, response::StoredResponse},
    store::StoreError,
};

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

/// Reads an answer of the functions on the table; `sql/postgres.sql` says what they give.
pub(super) fn verdict(row: &PgRow, binary: bool, id: &RecordId) -> Result<Verdict, Failure> {
    let unknown = || unreadable("an answer that this version does not know");
    let answer = Bytes::from(bytes(row, binary)?.ok_or_else(unknown)?);
    let (verdict, rest) = answer.split_first_chunk().ok_or_else(unknown)?;
    let (left, rest) = rest.split_first_chunk().unwrap_or((&[0; 16], rest));
    let left = interval_left(*left);
    let found = rest.split_first_chunk();
    let found = found.map(|(bytes, response)| (Fingerprint::from_bytes(*bytes), response));
    Ok(match (u32::from_be_bytes(*verdict), found) {
        (0, found) => Verdict::Again(found.map(|(fingerprint, _)| fingerprint)),
        (1, None) => Verdict::Passed,
        (2, Some((fingerprint, _))) => Verdict::Found(Found::Running {
            fingerprint,
            lease_left: Some(left),
        }),
        (verdict @ (3 | 5), Some((fingerprint, response))) => {
            let response = answer.slice_ref(response);
            let found = Found::Done {
                fingerprint,
                response: StoredResponse::from_durable(response, id, &fingerprint)
                    .map_err(unreadable)?,
                ttl_left: left,
            };
            if verdict == 5 {
                Verdict::Before(found)
            } else {
                Verdict::Found(found)
            }
        }
        (4, Some((fingerprint, _))) => Verdict::Found(Found::Lost { fingerprint }),
        (6, _) => {
            return Err(unreadable(
                "a row with a time that no clock shows, or without a fingerprint of 32 bytes",
            ));
        }
        _ => return Err(unknown()),
    })
}

/// What is left, in microseconds. What is over is nothing.
pub(super) fn time_left(micros: Option<i64>) -> Duration {
    Duration::from_micros(u64::try_from(micros.unwrap_or(0)).unwrap_or(0))
}

/// An interval as the server sends it: microseconds, days and months. What is over is nothing.
fn interval_left(bytes: [u8; 16]) -> Duration {
    const DAY: i64 = 24 * 60 * 60 * 1_000_000;
    let bytes = u128::from_be_bytes(bytes);
    #[expect(clippy::cast_possible_truncation, reason = "these are the parts")]
    let [micros, days] = [(bytes >> 64) as i64, i64::from((bytes >> 32) as i32)];
    time_left(Some(micros.saturating_add(days.saturating_mul(DAY))))
}

/// A value of bytes, which is hexadecimal digits where values are text.
fn bytes(row: &PgRow, binary: bool) -> Result<Option<Vec<u8>>, Failure> {
    if binary {
        return Ok(row.try_get(0)?);
    }
    let Some(digits) = row.try_get::<Option<&str>, _>(0)? else {
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

pub(super) fn nibble(digit: u8) -> Option<u8> {
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

    #[test]
    fn an_interval_is_read_with_its_days() {
        let sent = |micros: i64, days: i32| {
            let mut sent = [0; 16];
            sent[..8].copy_from_slice(&micros.to_be_bytes());
            sent[8..12].copy_from_slice(&days.to_be_bytes());
            interval_left(sent)
        };
        // As a server sends 366 days less 652 µs.
        let left = Duration::from_hours(366 * 24) - Duration::from_micros(652);
        assert_eq!(sent(0x14_1dd7_5d74, 365), left);
        assert_eq!(sent(-1, 0), Duration::ZERO);
        assert_eq!(sent(1, -1), Duration::ZERO);
    }
}
