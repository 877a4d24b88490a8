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

/// What a store keeps for one operation; `None` where it knows nothing. Its serialised form holds
/// the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    #[serde(serialize_with = "write_key", deserialize_with = "read_key")]
    key: IdempotencyKey,
    /// When the key was made, in milliseconds since 1970.
    created: u64,
    /// Some run was left uncertain, or the operation was done while others asked: a refusal is not
    /// its outcome.
    uncertain: bool,
    /// Some caller was told to ask again, and no run has begun since that could be it.
    owed: bool,
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
            let is_fresh = match &age {
                Ok(age) => *age < ttl,
                Err(future) => future.duration() <= CLOCK_TOLERANCE,
            };
            // What is certain has no entry: some run of this one is out, or was left uncertain.
            if !is_fresh {
                return Err(KeyStoreError::Stale {
                    name: name.to_owned(),
                    age: age.ok(),
                });
            }
        }
        let entry = slot.get_or_insert_with(|| Self::new(key, now));
        if entry.runs.is_empty() {
            // Whoever was told to ask again does so now.
            entry.owed = false;
        }
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
        if entry.runs.remove(&run.id).is_none() && outcome != RunOutcome::Uncertain {
            // It was abandoned before: nobody learns what it ended with.
            return KeyFate::Kept;
        }
        let is_last = entry.runs.is_empty() && !entry.owed;
        let is_given_up = match outcome {
            RunOutcome::Done => is_last,
            RunOutcome::Refused => is_last && !entry.uncertain,
            RunOutcome::Uncertain => false,
        };
        if is_given_up {
            *slot = None;
            return KeyFate::GivenUp;
        }
        match outcome {
            // It was done, and those who still ask must not take a refusal for the outcome.
            RunOutcome::Done => entry.uncertain = true,
            RunOutcome::Refused if !entry.uncertain => {}
            RunOutcome::Refused | RunOutcome::Uncertain => {
                entry.uncertain = true;
                entry.owed = true;
            }
        }
        KeyFate::Kept
    }

    /// Strikes off a run as uncertain. If it has ended meanwhile, its caller does not know that,
    /// and will ask again: a key that was given up comes back.
    pub fn abandon(slot: &mut Option<Self>, run: &Run) {
        let entry = slot.get_or_insert_with(|| Self::new(run.key.clone(), run.created));
        if entry.key == run.key {
            entry.runs.remove(&run.id);
            entry.uncertain = true;
            entry.owed = true;
        }
    }

    /// Strikes off, as uncertain, the runs of sessions that are no more.
    pub fn bury(&mut self, mut is_dead: impl FnMut(&str) -> bool) {
        let before = self.runs.len();
        self.runs.retain(|_, session| !is_dead(session));
        if self.runs.len() < before {
            self.uncertain = true;
            self.owed = true;
        }
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
        let created = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            key,
            created: created.as_millis().try_into().unwrap_or(u64::MAX),
            uncertain: false,
            owed: false,
            runs: BTreeMap::new(),
        }
    }

    fn created(&self) -> SystemTime {
        let created = UNIX_EPOCH.checked_add(Duration::from_millis(self.created));
        // A time that this machine cannot tell is as good as one in the future.
        created.unwrap_or_else(|| SystemTime::now() + Duration::from_hours(24 * 366))
    }
}

fn write_key<S: Serializer>(key: &IdempotencyKey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key.as_str())
}

fn read_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IdempotencyKey, D::Error> {
    let text = String::deserialize(deserializer)?;
    IdempotencyKey::new(text).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use KeyFate::{GivenUp, Kept};
    use RunOutcome::{Done, Refused, Uncertain};

    use super::*;

    const TTL: Duration = Duration::from_hours(23);

    fn start() -> SystemTime {
        UNIX_EPOCH + Duration::from_hours(500_000)
    }

    fn begin(slot: &mut Option<Entry>) -> Run {
        begin_at(slot, start()).unwrap()
    }

    fn begin_at(slot: &mut Option<Entry>, now: SystemTime) -> Result<Run, KeyStoreError> {
        Entry::begin(slot, "pay", "me", IdempotencyKey::random(), TTL, now)
    }

    #[test]
    fn a_certain_outcome_gives_the_key_up() {
        for outcome in [Done, Refused] {
            let slot = &mut None;
            let run = begin(slot);
            assert_eq!(Entry::end(slot, &run, outcome), GivenUp);
            assert_eq!(*slot, None);
        }
    }

    #[test]
    fn an_uncertain_one_keeps_it_until_it_is_done() {
        let slot = &mut None;
        let first = begin(slot);
        assert_eq!(Entry::end(slot, &first, Uncertain), Kept);
        let second = begin(slot);
        assert_eq!(second.key, first.key);
        assert_eq!(Entry::end(slot, &second, Refused), Kept, "a 401");
        let third = begin(slot);
        assert_eq!(third.key, first.key);
        assert_eq!(Entry::end(slot, &third, Done), GivenUp);
    }

    #[test]
    fn a_run_that_died_is_uncertain() {
        let slot = &mut None;
        let first = begin(slot);
        slot.as_mut().unwrap().bury(|session| session == "me");
        let second = begin(slot);
        assert_eq!(second.key, first.key);
        assert_eq!(Entry::end(slot, &second, Refused), Kept);
    }

    #[test]
    fn runs_at_the_same_time_share_the_key_until_the_last_has_its_answer() {
        let slot = &mut None;
        let (one, other) = (begin(slot), begin(slot));
        assert_eq!(one.key, other.key);
        assert_eq!(Entry::end(slot, &one, Done), Kept);
        let third = begin(slot);
        assert_eq!(third.key, one.key, "a third does not start over");
        assert_eq!(Entry::end(slot, &third, Done), Kept);
        assert_eq!(Entry::end(slot, &other, Done), GivenUp);
    }

    #[test]
    fn who_was_told_to_ask_again_finds_the_key_whoever_ended_first() {
        for is_lost_first in [true, false] {
            let slot = &mut None;
            let (paid, lost) = (begin(slot), begin(slot));
            if is_lost_first {
                assert_eq!(Entry::end(slot, &lost, Uncertain), Kept);
                assert_eq!(Entry::end(slot, &paid, Done), Kept);
            } else {
                assert_eq!(Entry::end(slot, &paid, Done), Kept);
                assert_eq!(Entry::end(slot, &lost, Uncertain), Kept);
            }
            let again = begin(slot);
            assert_eq!(again.key, paid.key);
            assert_eq!(Entry::end(slot, &again, Done), GivenUp);
        }
    }

    #[test]
    fn a_refusal_says_nothing_about_a_run_beside_it_that_was_done() {
        for is_told_before in [true, false] {
            let slot = &mut None;
            let (done, other) = (begin(slot), begin(slot));
            if is_told_before {
                assert_eq!(Entry::end(slot, &other, Uncertain), Kept);
            }
            assert_eq!(Entry::end(slot, &done, Done), Kept);
            let refused = if is_told_before { begin(slot) } else { other };
            assert_eq!(Entry::end(slot, &refused, Refused), Kept);
            let again = begin(slot);
            assert_eq!(again.key, done.key);
            assert_eq!(Entry::end(slot, &again, Done), GivenUp);
        }
    }

    #[test]
    fn a_refusal_beside_a_run_that_is_out_gives_nothing_up() {
        let slot = &mut None;
        let (refused, other) = (begin(slot), begin(slot));
        assert_eq!(Entry::end(slot, &refused, Refused), Kept);
        assert_eq!(begin(slot).key, other.key);
    }

    #[test]
    fn a_dropped_run_is_uncertain() {
        let slot = &mut None;
        let dropped = begin(slot);
        Entry::abandon(slot, &dropped);
        let again = begin(slot);
        assert_eq!(again.key, dropped.key);
        assert_eq!(Entry::end(slot, &again, Done), GivenUp);
    }

    #[test]
    fn a_key_that_is_given_up_while_its_caller_goes_away_comes_back() {
        let slot = &mut None;
        let run = begin(slot);
        assert_eq!(Entry::end(slot, &run, Done), GivenUp);
        Entry::abandon(slot, &run);
        let again = begin(slot);
        assert_eq!(
            again.key, run.key,
            "its caller does not know that it is done"
        );
        assert_eq!(Entry::end(slot, &again, Done), GivenUp);

        // And in the other order.
        let run = begin(slot);
        Entry::abandon(slot, &run);
        assert_eq!(Entry::end(slot, &run, Done), Kept);
        assert_eq!(begin(slot).key, run.key);
    }

    #[test]
    fn an_expired_key_is_neither_sent_nor_replaced() {
        let slot = &mut None;
        let first = begin(slot);
        Entry::end(slot, &first, Uncertain);
        assert!(begin_at(slot, start() + TTL - Duration::from_secs(1)).is_ok());
        for now in [start() + TTL, start() - Duration::from_mins(2)] {
            let stale = begin_at(slot, now).unwrap_err();
            assert!(matches!(stale, KeyStoreError::Stale { .. }), "{stale}");
        }
        let kept = slot.clone().unwrap();
        assert_eq!(kept.key, first.key);
    }

    #[test]
    fn what_runs_is_not_forgotten() {
        let slot = &mut None;
        let run = begin(slot);
        let refused = Entry::forget(slot, "pay").unwrap_err();
        assert!(matches!(refused, KeyStoreError::Running { .. }));
        Entry::end(slot, &run, Uncertain);
        assert!(Entry::forget(slot, "pay").unwrap());
        assert!(!Entry::forget(slot, "pay").unwrap());
        assert_ne!(begin(slot).key, run.key);
    }

    #[test]
    fn an_entry_that_was_removed_by_hand_comes_back_with_its_uncertainty() {
        let slot = &mut None;
        let run = begin(slot);
        *slot = None;
        assert_eq!(Entry::end(slot, &run, Uncertain), Kept);
        let again = begin(slot);
        assert_eq!(again.key, run.key);
        *slot = None;
        assert_eq!(Entry::end(slot, &again, Done), GivenUp);
    }
}
