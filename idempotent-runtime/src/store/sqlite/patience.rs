//! Whether it pays to let callers come back before the next transaction begins.
//!
//! Callers who were all answered by one commit ask again at about the same time. A transaction
//! that begins a moment too early takes half of them, and the other half waits for the next sync
//! of the disk: twice the syncs. So a transaction that looks small waits for a small part of what
//! the last one cost; not at all for a caller who is alone, and ever less often where nobody
//! comes.

use std::time::Duration;

/// Which part of the last transaction's time is worth waiting, at most.
const SHARE: u32 = 8;
const LONGEST_PAUSE: u32 = 64;

#[derive(Default)]
pub(super) struct Patience {
    /// What the last transaction took.
    last: Duration,
    /// How many verbs there would be, if everybody came back.
    expected: usize,
    /// How many transactions are not worth waiting for.
    pause: u32,
    next_pause: u32,
}

impl Patience {
    /// How many verbs to wait for, and how long.
    pub(super) fn wait_for(&mut self) -> Option<(usize, Duration)> {
        if self.pause > 0 {
            self.pause -= 1;
            return None;
        }
        (self.expected > 1).then_some((self.expected, self.last / SHARE))
    }

    /// Takes note of how many came while we waited.
    pub(super) fn waited(&mut self, came: usize, missing: usize) {
        if came * 4 >= missing {
            self.next_pause = 1;
        } else {
            self.pause = self.next_pause;
            self.next_pause = (self.next_pause * 2).clamp(1, LONGEST_PAUSE);
        }
    }

    /// Takes note of a transaction, and of how many verbs waited when it ended.
    pub(super) fn committed(&mut self, verbs: usize, waiting: usize, took: Duration) {
        self.last = took;
        self.expected = if verbs > 1 || waiting > 0 {
            verbs + waiting
        } else {
            0
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_alone_is_not_held_up() {
        let mut patience = Patience::default();
        assert_eq!(patience.wait_for(), None);
        patience.committed(1, 0, Duration::from_millis(8));
        assert_eq!(patience.wait_for(), None);
        patience.committed(1, 1, Duration::from_millis(8));
        assert_eq!(patience.wait_for(), Some((2, Duration::from_millis(1))));
    }

    #[test]
    fn waiting_in_vain_becomes_rare() {
        let mut patience = Patience::default();
        patience.committed(10, 10, Duration::from_millis(8));
        let mut waits = 0;
        for _ in 0..1000 {
            if patience.wait_for().is_some() {
                waits += 1;
                patience.waited(0, 10);
            }
        }
        assert!(waits < 25, "{waits}");
        while patience.wait_for().is_none() {}
        patience.waited(10, 10);
        assert!(patience.wait_for().is_some());
    }
}
