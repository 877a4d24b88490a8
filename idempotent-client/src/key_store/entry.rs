//! What is remembered of one operation, and the rules by which its key is given up. Pure.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use super::{KeyFate, KeyStoreError, Run, RunOutcome};
use crate::IdempotencyKey;

/// How far a clock may have been set back without a word about it.
const CLOCK_TOLERANCE: Duration = Duration::from_mins(1);

/// So that arithmetic on times cannot overflow.
const LONGEST_TTL: Duration = Duration::from_hours(24 * 366);

/// What a store keeps for one operation; `None` where it knows nothing. Its serialised form holds
/// the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    #[serde(serialize_with = "write_key", deserialize_with = "read_key")]
    key: IdempotencyKey,
    /// When the key was made, in milliseconds since 1970.
    created: u64,
    /// Until when the key is sent, in milliseconds since 1970.
    expires: u64,
    /// The outcome is known, and the server replays it.
    done: bool,
    /// Some run was left uncertain: a refusal is not the operation's outcome.
    uncertain: bool,
    /// How many callers were told to ask again, less the runs that have begun since. While the key
    /// is sent nothing depends on it; then it tells whether somebody may still not know.
    owed: u32,
    /// The runs that are out, each with the session it belongs to.
    runs: BTreeMap<String, String>,
}

impl Entry {
    /// Enters a run, with the key that is there or else this one. `session` names who runs it, so
    /// that [`bury`](Self::bury) knows what ends with it.
    ///
    /// # Errors
    ///
    /// [`KeyStoreError::Stale`].
    pub fn begin(
        slot: &mut Option<Self>,
        name: &str,
        session: &str,
        key: IdempotencyKey,
        ttl: Duration,
        now: SystemTime,
    ) -> Result<Run, KeyStoreError> {
        if let Some(entry) = slot {
            let age = now.duration_since(entry.created());
            match &age {
                Ok(age) if *age < ttl => {}
                Ok(_) if entry.is_finished() => *slot = None,
                Err(future) if future.duration() <= CLOCK_TOLERANCE => {}
                _ => {
                    return Err(KeyStoreError::Stale {
                        name: name.to_owned(),
                        age: age.ok(),
                    });
                }
            }
        }
        let entry = slot.get_or_insert_with(|| Self::new(key, now));
        entry.expires = entry
            .expires
            .max(millis(entry.created() + ttl.min(LONGEST_TTL)));
        // Whoever was told to ask again does so now.
        entry.owed = entry.owed.saturating_sub(1);
        let id = Uuid::new_v4().to_string();
        entry.runs.insert(id.clone(), session.to_owned());
        Ok(Run {
            id,
            key: entry.key.clone(),
            created: entry.created(),
        })
    }

    /// Strikes off a run.
    pub fn end(slot: &mut Option<Self>, run: &Run, outcome: RunOutcome) -> KeyFate {
        if slot.is_none() && outcome == RunOutcome::Uncertain {
            // Somebody removed the entry by hand. The caller will be told that the key is kept.
            *slot = Some(Self::new(run.key.clone(), run.created));
        }
        let Some(entry) = slot.as_mut().filter(|entry| entry.key == run.key) else {
            return KeyFate::GivenUp;
        };
        let was_out = entry.runs.remove(&run.id).is_some();
        match outcome {
            // Whoever asks again gets the replay: also the caller of this run, which may end
            // before it has made a note of the outcome.
            RunOutcome::Done => entry.done = true,
            // It was abandoned before: nobody learns what it ended with.
            RunOutcome::Refused if !was_out => {}
            RunOutcome::Refused if entry.runs.is_empty() && !entry.done && !entry.uncertain => {
                *slot = None;
                return KeyFate::GivenUp;
            }
            RunOutcome::Refused => entry.owed = entry.owed.saturating_add(1),
            RunOutcome::Uncertain => entry.leave_uncertain(1),
        }
        KeyFate::Kept
    }

    /// Strikes off a run as uncertain. If it has ended meanwhile, its caller does not know that,
    /// and will ask again: a key that was given up comes back.
    pub fn abandon(slot: &mut Option<Self>, run: &Run) {
        let entry = slot.get_or_insert_with(|| Self::new(run.key.clone(), run.created));
        if entry.key == run.key {
            entry.runs.remove(&run.id);
            entry.leave_uncertain(1);
        }
    }

    /// Strikes off, as uncertain, the runs of sessions that are no more.
    pub fn bury(&mut self, mut is_dead: impl FnMut(&str) -> bool) {
        let before = self.runs.len();
        self.runs.retain(|_, session| !is_dead(session));
        let dead = before - self.runs.len();
        if dead > 0 {
            self.leave_uncertain(dead.try_into().unwrap_or(u32::MAX));
        }
    }

    /// Whether a store may remove this entry: the operation is done, its key not sent any more, and
    /// nobody was told to ask again who has not.
    #[must_use]
    pub fn is_over(&self, now: SystemTime) -> bool {
        self.is_finished() && millis(now) >= self.expires
    }

    fn is_finished(&self) -> bool {
        self.done && self.owed == 0 && self.runs.is_empty()
    }

    fn leave_uncertain(&mut self, callers: u32) {
        self.uncertain = true;
        self.owed = self.owed.saturating_add(callers);
    }

    /// Forgets the operation.
    ///
    /// # Errors
    ///
    /// [`KeyStoreError::Running`].
    pub fn forget(slot: &mut Option<Self>, name: &str) -> Result<bool, KeyStoreError> {
        match slot {
            Some(entry) if !entry.runs.is_empty() => Err(KeyStoreError::Running {
                name: name.to_owned(),
            }),
            slot => Ok(slot.take().is_some()),
        }
    }

    fn new(key: IdempotencyKey, now: SystemTime) -> Self {
        let created = millis(now);
        Self {
            key,
            created,
            expires: created,
            done: false,
            uncertain: false,
            owed: 0,
            runs: BTreeMap::new(),
        }
    }

    fn created(&self) -> SystemTime {
        let created = UNIX_EPOCH.checked_add(Duration::from_millis(self.created));
        // A time that this machine cannot tell is as good as one in the future.
        created.unwrap_or_else(|| SystemTime::now() + LONGEST_TTL)
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

fn write_key<S: Serializer>(key: &IdempotencyKey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key.as_str())
}

fn read_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IdempotencyKey, D::Error> {
    let text = String::deserialize(deserializer)?;
    IdempotencyKey::new(text).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests;
