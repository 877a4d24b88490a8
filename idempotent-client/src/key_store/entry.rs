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

    /// Begins, is told that it was done, and gives the key.
    fn begin_again(slot: &mut Option<Entry>) -> IdempotencyKey {
        let again = begin(slot);
        assert_eq!(Entry::end(slot, &again, Done), Kept);
        again.key
    }

    #[test]
    fn what_is_certain_to_be_undone_gives_the_key_up() {
        let slot = &mut None;
        let run = begin(slot);
        assert_eq!(Entry::end(slot, &run, Refused), GivenUp);
        assert_eq!(*slot, None);
    }

    #[test]
    fn what_is_done_is_asked_for_with_the_same_key_until_that_expires() {
        let slot = &mut None;
        let run = begin(slot);
        assert_eq!(Entry::end(slot, &run, Done), Kept);
        let again = begin(slot);
        assert_eq!(again.key, run.key, "its caller may have crashed since");
        assert_eq!(Entry::end(slot, &again, Refused), Kept, "a 401");
        let last = begin_at(slot, start() + TTL - Duration::from_secs(1)).unwrap();
        assert_eq!(last.key, run.key);
        assert_eq!(Entry::end(slot, &last, Done), Kept);
        assert!(
            !slot
                .as_ref()
                .unwrap()
                .is_over(start() + TTL - Duration::from_secs(1))
        );
        assert!(slot.as_ref().unwrap().is_over(start() + TTL));
        let later = begin_at(slot, start() + TTL).unwrap();
        assert_ne!(later.key, run.key);
        assert_eq!(Entry::end(slot, &later, Refused), GivenUp);
    }

    #[test]
    fn what_is_done_is_not_begun_anew_because_a_clock_was_set_back() {
        let slot = &mut None;
        let run = begin(slot);
        Entry::end(slot, &run, Done);
        let stale = begin_at(slot, start() - Duration::from_mins(2)).unwrap_err();
        assert!(matches!(stale, KeyStoreError::Stale { .. }), "{stale}");
    }

    #[test]
    fn of_several_that_were_told_to_ask_again_none_starts_over() {
        // Each is lost in a way of its own.
        let lost: [fn(&mut Option<Entry>, &Run); 3] = [
            |slot, run| _ = Entry::end(slot, run, Uncertain),
            |slot, run| Entry::abandon(slot, run),
            |slot, _| slot.as_mut().unwrap().bury(|session| session == "me"),
        ];
        for lose in lost {
            let slot = &mut None;
            let (one, other) = (begin(slot), begin(slot));
            lose(slot, &one);
            lose(slot, &other);
            let again = begin(slot);
            assert_eq!(Entry::end(slot, &again, Done), Kept);
            assert_eq!(begin_again(slot), one.key, "the other asks again");
        }
    }

    #[test]
    fn who_was_refused_beside_a_run_that_was_done_does_not_start_over() {
        let slot = &mut None;
        let (refused, other) = (begin(slot), begin(slot));
        assert_eq!(
            Entry::end(slot, &refused, Refused),
            Kept,
            "told to ask again"
        );
        assert_eq!(Entry::end(slot, &other, Done), Kept);
        assert_eq!(begin_again(slot), refused.key, "with another token");
    }

    #[test]
    fn an_expired_key_is_not_replaced_while_somebody_may_not_know_the_outcome() {
        let slot = &mut None;
        let (one, other) = (begin(slot), begin(slot));
        Entry::end(slot, &one, Uncertain);
        Entry::end(slot, &other, Uncertain);
        let again = begin(slot);
        Entry::end(slot, &again, Done);
        assert!(!slot.as_ref().unwrap().is_over(start() + TTL));
        let stale = begin_at(slot, start() + TTL).unwrap_err();
        assert!(matches!(stale, KeyStoreError::Stale { .. }), "{stale}");
        // The other learns it too.
        let again = begin(slot);
        Entry::end(slot, &again, Done);
        assert!(slot.as_ref().unwrap().is_over(start() + TTL));
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
        assert_eq!(Entry::end(slot, &third, Done), Kept);
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
    fn runs_at_the_same_time_share_the_key() {
        let slot = &mut None;
        let (one, other) = (begin(slot), begin(slot));
        assert_eq!(one.key, other.key);
        assert_eq!(Entry::end(slot, &one, Done), Kept);
        let third = begin(slot);
        assert_eq!(third.key, one.key, "a third does not start over");
        assert_eq!(Entry::end(slot, &third, Done), Kept);
        assert_eq!(Entry::end(slot, &other, Done), Kept);
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
            assert_eq!(Entry::end(slot, &again, Done), Kept);
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
            assert_eq!(Entry::end(slot, &again, Done), Kept);
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
        assert_eq!(Entry::end(slot, &again, Done), Kept);
    }

    #[test]
    fn a_key_that_is_given_up_while_its_caller_goes_away_comes_back() {
        let slot = &mut None;
        let run = begin(slot);
        assert_eq!(Entry::end(slot, &run, Refused), GivenUp);
        Entry::abandon(slot, &run);
        let again = begin(slot);
        assert_eq!(again.key, run.key, "its caller does not know that");
        assert_eq!(Entry::end(slot, &again, Refused), Kept);

        // And in the other order.
        let slot = &mut None;
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
