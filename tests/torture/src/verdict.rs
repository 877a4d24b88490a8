//! What clients were told, compared with the ledger.

use std::collections::HashMap;

use crate::{
    mode::Promise,
    operation::{End, Operation},
    tally::{Count, Tally},
};

/// Owners and ids of payments, by the number of their operation.
pub(crate) type Ledger = HashMap<u64, Vec<(String, String)>>;

/// What came of all operations.
#[derive(Debug)]
pub(crate) struct Verdict {
    promise: Promise,
    pub(crate) operations: usize,
    /// Payments in the ledger.
    pub(crate) made: usize,
    /// Operations that clients were told are done.
    pub(crate) wanted: usize,
    pub(crate) failed: Uncertain,
    pub(crate) unknown: Uncertain,
    /// Operations with more than one payment.
    pub(crate) twice: usize,
    /// Operations that were told to be paid and are not, or that were never settled.
    pub(crate) lost: usize,
    /// Operations of which different things were told, or another thing than the ledger says.
    pub(crate) differently: usize,
    /// Operations that were refused as no client should be here.
    pub(crate) refused: usize,
    /// Payments of no operation.
    pub(crate) foreign: usize,
    /// Servers that ended, and nobody had asked them to.
    pub(crate) ended: u64,
    /// Some of the operations whose promise was broken.
    pub(crate) offenders: Vec<Offender>,
}

/// Operations that were not told to be paid.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Uncertain {
    pub(crate) operations: usize,
    /// Those of which there is a payment all the same.
    pub(crate) paid: usize,
}

/// An operation, and what the ledger says of it.
#[derive(Debug)]
pub(crate) struct Offender {
    pub(crate) operation: Operation,
    pub(crate) payments: Vec<String>,
}

/// How many offenders are shown.
const SHOWN: usize = 5;

/// What is wrong with an operation.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // Each is one of the things that are counted.
struct Faults {
    twice: bool,
    lost: bool,
    differently: bool,
    refused: bool,
}

impl Verdict {
    pub(crate) fn new(
        promise: Promise,
        operations: Vec<Operation>,
        mut ledger: Ledger,
        tally: &Tally,
    ) -> Self {
        let mut verdict = Self {
            promise,
            operations: operations.len(),
            made: ledger.values().map(Vec::len).sum(),
            wanted: 0,
            failed: Uncertain::default(),
            unknown: Uncertain::default(),
            twice: 0,
            lost: 0,
            differently: 0,
            refused: 0,
            foreign: 0,
            ended: tally.of(Count::Ended),
            offenders: Vec::new(),
        };
        for operation in operations {
            let mut payments = Vec::new();
            for (owner, payment) in ledger.remove(&operation.number).unwrap_or_default() {
                if owner == operation.user {
                    payments.push(payment);
                } else {
                    verdict.foreign += 1;
                }
            }
            verdict.count(operation, payments);
        }
        verdict.foreign += ledger.values().map(Vec::len).sum::<usize>();
        verdict
    }

    fn count(&mut self, operation: Operation, payments: Vec<String>) {
        match operation.end() {
            Some(_) if operation.is_paid() => self.wanted += 1,
            Some(_) if operation.ends().any(|end| end == End::Failed) => {
                self.failed.count(&payments);
            }
            Some(End::Unknown) => self.unknown.count(&payments),
            _ => {}
        }
        let faults = faults(self.promise, &operation, &payments);
        self.twice += usize::from(faults.twice);
        self.lost += usize::from(faults.lost);
        self.differently += usize::from(faults.differently);
        self.refused += usize::from(faults.refused);
        if self.offenders.len() < SHOWN && faults.break_the(self.promise) {
            self.offenders.push(Offender {
                operation,
                payments,
            });
        }
    }

    /// Whether all that is promised was kept.
    pub(crate) fn is_kept(&self) -> bool {
        let faults = Faults {
            twice: self.twice > 0,
            lost: self.lost > 0,
            differently: self.differently > 0,
            refused: self.refused > 0,
        };
        // Nothing is shown by a run without operations.
        self.wanted > 0 && self.foreign == 0 && self.ended == 0 && !faults.break_the(self.promise)
    }
}

impl Uncertain {
    fn count(&mut self, payments: &[String]) {
        self.operations += 1;
        self.paid += usize::from(!payments.is_empty());
    }
}

impl Faults {
    /// Whether one of them is among what is promised not to happen.
    fn break_the(self, promise: Promise) -> bool {
        // A run that is run again after its payment pays again, and says so.
        let again = (self.twice || self.differently) && promise != Promise::AtLeastOnce;
        again || self.lost || self.refused
    }
}

fn faults(promise: Promise, operation: &Operation, payments: &[String]) -> Faults {
    let mut told: Vec<&str> = operation.payments_told().collect();
    told.sort_unstable();
    told.dedup();
    let mut ends: Vec<End> = operation.ends().collect();
    ends.dedup();
    let is_there = |told: &&str| payments.iter().any(|payment| payment == told);
    let other_payment = told.len() > 1 || (!payments.is_empty() && !told.iter().all(is_there));
    // Only what outlives its process unrecorded may be lost and known to be so.
    let refused = ends.contains(&End::Refused)
        || (promise != Promise::AtMostOnce && ends.contains(&End::Unknown));
    let other_end = match promise {
        Promise::ExactlyOnce => ends.len() > 1 || (ends == [End::Failed] && !payments.is_empty()),
        Promise::OneRun => ends.len() > 1,
        Promise::AtMostOnce => {
            // A server that could not record what it told, and then died, is a lost run. One that
            // was only away records it when it is back, or frees the key if nothing was done: then
            // the next attempt is a first one. What is recorded stays.
            let mut known = ends.clone();
            known.retain(|end| *end != End::Unknown);
            known.dedup();
            known.len() > 1 || operation.is_unknown_after_a_record()
        }
        Promise::AtLeastOnce => false,
    };
    Faults {
        twice: payments.len() > 1,
        lost: ends.is_empty()
            || !operation.is_settled
            || (operation.is_paid() && payments.is_empty()),
        differently: other_payment || other_end,
        refused,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::operation::{Asked, Attempt, Told};

    /// The verdict on one operation of which this was told, with these payments in the ledger.
    fn verdict(promise: Promise, told: &[Told], payments: &[&str]) -> Verdict {
        let mut operation = Operation::new(7, "client-1");
        operation.attempts = told
            .iter()
            .zip(1..)
            .map(|(told, second)| Attempt {
                sent: Duration::from_secs(second),
                took: Duration::ZERO,
                server: 0,
                asked: Asked::default(),
                told: told.clone(),
            })
            .collect();
        let payment = |id: &&str| ("client-1".to_owned(), (*id).to_owned());
        let ledger = Ledger::from([(7, payments.iter().map(payment).collect())]);
        Verdict::new(promise, vec![operation], ledger, &Tally::default())
    }

    fn paid(payment: &str) -> Told {
        Told::Paid {
            payment: payment.to_owned(),
            is_replay: true,
        }
    }

    const FAILED: Told = Told::Failed {
        status: 500,
        is_replay: true,
    };

    #[test]
    fn one_payment_that_is_told_twice_is_as_it_should_be() {
        for promise in [
            Promise::ExactlyOnce,
            Promise::OneRun,
            Promise::AtMostOnce,
            Promise::AtLeastOnce,
        ] {
            let kept = verdict(promise, &[paid("a"), paid("a")], &["a"]);
            assert!(kept.is_kept(), "{kept:?}");
            assert_eq!((kept.wanted, kept.made), (1, 1));
        }
    }

    #[test]
    fn a_second_payment_is_found() {
        let twice = verdict(Promise::ExactlyOnce, &[paid("a")], &["a", "b"]);
        assert_eq!((twice.twice, twice.lost, twice.differently), (1, 0, 0));
        assert!(!twice.is_kept());
        assert_eq!(twice.offenders.len(), 1);
        assert!(!verdict(Promise::AtMostOnce, &[paid("a")], &["a", "b"]).is_kept());
        assert!(verdict(Promise::AtLeastOnce, &[paid("a")], &["a", "b"]).is_kept());
    }

    #[test]
    fn a_payment_that_is_not_there_is_found() {
        for promise in [Promise::ExactlyOnce, Promise::AtLeastOnce] {
            let lost = verdict(promise, &[paid("a")], &[]);
            assert_eq!(lost.lost, 1);
            assert!(!lost.is_kept());
        }
        let nothing = Told::Nothing { reason: "" };
        let unsettled = verdict(Promise::ExactlyOnce, &[nothing], &[]);
        assert_eq!(unsettled.lost, 1);
    }

    #[test]
    fn another_answer_is_found() {
        for told in [
            &[paid("a"), paid("b")][..],
            &[paid("b")],
            &[paid("a"), FAILED],
        ] {
            let differently = verdict(Promise::ExactlyOnce, told, &["a"]);
            assert_eq!(differently.differently, 1, "{told:?}");
            assert!(!differently.is_kept());
        }
    }

    #[test]
    fn what_is_recorded_as_failed_is_not_paid_where_both_are_one_transaction() {
        assert!(!verdict(Promise::ExactlyOnce, &[FAILED], &["a"]).is_kept());
        let elsewhere = verdict(Promise::AtMostOnce, &[FAILED], &["a"]);
        assert_eq!((elsewhere.differently, elsewhere.failed.paid), (0, 1));
    }

    #[test]
    fn what_was_unknown_may_be_recorded_later_and_then_stays() {
        let later = |told: &[Told]| verdict(Promise::AtMostOnce, told, &["a"]).differently;
        assert_eq!(later(&[Told::Unknown, paid("a")]), 0);
        assert_eq!(later(&[Told::Unknown, FAILED, FAILED]), 0);
        assert_eq!(later(&[paid("a"), Told::Unknown]), 1);
        assert_eq!(later(&[FAILED, Told::Unknown]), 1);
        assert_eq!(later(&[FAILED, Told::Unknown, FAILED]), 1);
        assert_eq!(later(&[Told::Unknown, FAILED, paid("a")]), 1);
        let not_kept = Told::NotKept {
            payment: "a".to_owned(),
        };
        assert_eq!(later(&[Told::Unknown, not_kept.clone()]), 0);
        assert_eq!(later(&[not_kept, Told::Unknown]), 1);
        let first = Told::Paid {
            payment: "a".to_owned(),
            is_replay: false,
        };
        assert_eq!(later(&[first.clone(), Told::Unknown]), 0);
        // The lost run came back, and said that nothing was done.
        assert_eq!(later(&[Told::Unknown, first]), 0);
    }

    #[test]
    fn only_what_is_lost_and_not_run_again_is_unknown() {
        let unknown = verdict(Promise::AtMostOnce, &[Told::Unknown], &["a"]);
        assert_eq!((unknown.unknown.operations, unknown.unknown.paid), (1, 1));
        assert_eq!((unknown.refused, unknown.lost), (0, 0));
        assert_eq!(
            verdict(Promise::ExactlyOnce, &[Told::Unknown], &[]).refused,
            1
        );
    }
}
