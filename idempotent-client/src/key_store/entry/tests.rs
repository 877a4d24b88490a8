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
