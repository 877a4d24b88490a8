//! The store in Redis, looked at by an operator.

use std::{future::Future, pin::Pin};

use redis::{Cmd, Value};

use super::{
    RedisStore, script,
    value::inspection,
    verbs::{failed, read, run, unexpected},
};
use crate::{
    clock::Timestamp,
    core::record::RecordId,
    store::{Cursor, Forget, Forgotten, Inspect, Inspection, Listing, Page, StoreError},
};

/// How many keys are asked for at once, and about how many are looked at for one page.
const STEP: usize = 100;
const KEYS: usize = 1000;

impl Inspect for RedisStore {
    fn inspect<'a>(
        &'a self,
        id: &'a RecordId,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Inspection>, StoreError>> + Send + 'a>> {
        Box::pin(self.within(self.look_at(&script::INSPECT, *id)))
    }

    fn forget<'a>(
        &'a self,
        id: &'a RecordId,
        forget: Forget,
    ) -> Pin<Box<dyn Future<Output = Result<Forgotten, StoreError>> + Send + 'a>> {
        Box::pin(self.within(async move {
            let even: &[u8] = match forget {
                Forget::Lost => b"lost",
                Forget::EvenDone => b"done",
                Forget::EvenRunning => b"running",
            };
            let key = self.key(id);
            match run(&self.0.link, &script::FORGET, &key, &[even]).await? {
                Value::Int(0) => Ok(Forgotten::Absent),
                Value::Int(1) => Ok(Forgotten::Removed),
                Value::Int(2) => Ok(Forgotten::Running),
                Value::Int(3) => Ok(Forgotten::Done),
                Value::Int(-1) => Err(super::value::damaged()),
                _ => Err(unexpected()),
            }
        }))
    }

    /// By `SCAN`, one master after the other. While a cluster's slots are moved, or a master is
    /// replaced, claims may be left out or come twice.
    fn list<'a>(
        &'a self,
        listing: &'a Listing,
    ) -> Pin<Box<dyn Future<Output = Result<Page, StoreError>> + Send + 'a>> {
        Box::pin(async {
            let (mut slot, mut place) = match listing.after {
                None => (0, 0),
                Some(Cursor::Place(slot, place)) => (slot, place),
                Some(Cursor::Id(_)) => return Err(StoreError::Unsupported),
            };
            let masters = self.within(self.masters()).await?;
            let mut claims = Vec::new();
            let mut looked_at = 0;
            loop {
                // Each step has the time limit of a verb.
                let (next, ids) = self.within(self.scan(slot, place)).await?;
                looked_at += STEP;
                let found = self.within(async {
                    let mut found = Vec::new();
                    for id in ids {
                        match self.look_at(&script::INSPECT_CLAIM, id).await {
                            Ok(Some(claim)) if listing.which.has(&claim) => found.push(claim),
                            Ok(_) | Err(StoreError::Unreadable(_)) => {}
                            Err(error) => return Err(error),
                        }
                    }
                    Ok(found)
                });
                claims.extend(found.await?);
                place = next;
                if place == 0 {
                    let Some(other) = masters.iter().find(|master| **master > slot) else {
                        return Ok(Page { claims, next: None });
                    };
                    slot = *other;
                }
                if claims.len() >= listing.limit || looked_at >= KEYS {
                    let next = Some(Cursor::Place(slot, place));
                    return Ok(Page { claims, next });
                }
            }
        })
    }
}

impl RedisStore {
    async fn look_at(
        &self,
        script: &script::Script,
        id: RecordId,
    ) -> Result<Option<Inspection>, StoreError> {
        let answer = run(&self.0.unheld, script, &self.key(&id), &[]).await?;
        let Value::Array(parts) = answer else {
            return Err(unexpected());
        };
        let [value, left, seconds, micros] =
            <[Value; 4]>::try_from(parts).map_err(|_| unexpected())?;
        if value == Value::Nil {
            return Ok(None);
        }
        let (kept, left_ms) = read(&id, value, &left)?;
        let (seconds, micros) = (number(&seconds)?, number(&micros)?);
        let now = Timestamp::from_millis(seconds.saturating_mul(1000) + micros / 1000);
        Ok(Some(inspection(id, kept, left_ms, now)))
    }

    /// The lowest slot of each master of a cluster but the one of slot 0, in order.
    async fn masters(&self) -> Result<Vec<u16>, StoreError> {
        if !self.0.link.servers().is_cluster() {
            return Ok(Vec::new());
        }
        let slots = Cmd::new().arg("CLUSTER").arg("SLOTS").to_owned();
        let answer = self.0.unheld.one(&slots).await.map_err(failed)?;
        let Value::Array(ranges) = answer else {
            return Err(unexpected());
        };
        let mut ranges: Vec<(u16, Value)> = ranges.into_iter().filter_map(range).collect();
        ranges.sort_by_key(|(start, _)| *start);
        let mut seen = Vec::new();
        let mut masters = Vec::new();
        for (start, master) in ranges {
            if !seen.contains(&master) {
                seen.push(master);
                masters.push(start);
            }
        }
        masters.retain(|start| *start > 0);
        Ok(masters)
    }

    /// Some keys of the master of a slot, and where it goes on; 0 at its end.
    async fn scan(&self, slot: u16, place: u64) -> Result<(u64, Vec<RecordId>), StoreError> {
        let prefix = self.0.prefix.as_bytes();
        let mut scan = Cmd::new();
        scan.arg("SCAN")
            .arg(place)
            .arg("MATCH")
            .arg(pattern(prefix));
        scan.arg("COUNT").arg(STEP);
        let answer = self
            .0
            .unheld
            .one_of_slot(&scan, slot)
            .await
            .map_err(failed)?;
        let Value::Array(parts) = answer else {
            return Err(unexpected());
        };
        let [next, Value::Array(keys)] = <[Value; 2]>::try_from(parts).map_err(|_| unexpected())?
        else {
            return Err(unexpected());
        };
        let id = |key: &Value| {
            let Value::BulkString(key) = key else {
                return None;
            };
            let digits = key.strip_prefix(prefix)?;
            std::str::from_utf8(digits).ok()?.parse().ok()
        };
        Ok((number(&next)?, keys.iter().filter_map(id).collect()))
    }
}

/// The first slot of a range, and its master: `[first, last, [host, port, id, …], replica, …]`.
fn range(range: Value) -> Option<(u16, Value)> {
    let Value::Array(parts) = range else {
        return None;
    };
    let [Value::Int(first), _, master, ..] = &parts[..] else {
        return None;
    };
    Some((u16::try_from(*first).ok()?, master.clone()))
}

/// What `MATCH` takes for the prefix and all that follows it.
fn pattern(prefix: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 1);
    for byte in prefix {
        if b"*?[]^-\\".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.push(b'*');
    pattern
}

fn number(value: &Value) -> Result<u64, StoreError> {
    let number = match value {
        Value::BulkString(text) => std::str::from_utf8(text)
            .ok()
            .and_then(|it| it.parse().ok()),
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    number.ok_or_else(unexpected)
}
