//! One seed is one history, and the simulated store is a store.

use std::time::Duration;

use idempotent_simulation::{Mode, simulate};

#[test]
fn a_seed_replays_itself() {
    for mode in Mode::ALL {
        for seed in [3, 20] {
            let [first, second] = [(); 2].map(|()| simulate(seed, mode, true));
            assert_eq!(first.history, second.history);
            assert_eq!(first.trace, second.trace);
            assert_eq!(first.verdict, second.verdict);
            let other = simulate(seed + 1, mode, false);
            assert_ne!(first.trace, other.trace, "another seed is another history");
        }
    }
}

#[test]
fn a_history_needs_no_reader() {
    let [read, unread] = [true, false].map(|keeps| simulate(7, Mode::CommitIn, keeps));
    assert_eq!(read.trace, unread.trace);
    let history = read.history.expect("it was asked for");
    assert!(
        history.contains("Crash") || history.contains("Stall"),
        "{history}"
    );
    assert!(read.simulated > Duration::from_secs(6));
}

#[test]
fn what_was_lost_is_paid_twice_where_that_is_promised() {
    // That the simulation finds it shows that it looks where it can happen.
    let twice = (1..=40).map(|seed| simulate(seed, Mode::Rerun, false).verdict.twice);
    assert!(twice.sum::<u64>() > 0);
}
