//! The payments, compared with what the clients were told.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use crate::{
    database::{Operation, Payment},
    mode::Mode,
    world::World,
};

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// 201.
    Paid(Payment),
    /// 500: what is recorded of a handler that failed.
    Failed,
    /// 422 `key-reused`.
    Reused,
    /// 409 `outcome-unknown`.
    Unknown,
    /// 409 `in-flight`, or 503.
    Later,
    /// 503 to the end.
    Full,
    /// No answer came.
    Nothing,
    /// A status that nobody should get.
    Unexpected(u16),
}

/// All answers that were certain.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<BTreeMap<Operation, Vec<Answer>>>>);

#[derive(Clone, Copy)]
struct Answer {
    told: Told,
    is_of_other_payload: bool,
    /// Whether it was asked for when there were no faults any more.
    is_last: bool,
}

/// How many operations are not as they should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// All that there were.
    pub operations: u64,
    /// Those with more than one payment.
    pub twice: u64,
    /// Those that were told of a payment that was not made, or were never settled.
    pub lost: u64,
    /// Those that were told two things.
    pub differently: u64,
    /// Those that were told what nobody should be told, such as anything but 422 for another
    /// payload.
    pub mistaken: u64,
    /// Those of which nobody may know, or for which there was no room.
    pub open: u64,
}

impl Answers {
    pub(crate) fn add(&self, operation: Operation, suffix: &str, told: Told, is_last: bool) {
        let mut answers = self
            .0
            .lock()
            .expect("nothing panics while it holds the answers");
        answers.entry(operation).or_default().push(Answer {
            told,
            is_of_other_payload: !suffix.is_empty(),
            is_last,
        });
    }

    /// Compares them with the payments that were made.
    pub(crate) fn judge(&self, world: &World, operations: Operation) -> Verdict {
        let answers = self
            .0
            .lock()
            .expect("nothing panics while it holds the answers");
        let inner = world.lock();
        let mut verdict = Verdict {
            mistaken: inner.mistaken,
            ..Verdict::default()
        };
        for operation in 1..=operations {
            let payments = inner.database.payments_of(operation);
            let answers = answers.get(&operation).map_or(&[][..], Vec::as_slice);
            verdict.add(inner.mode, &payments, answers);
        }
        verdict
    }
}

impl Verdict {
    fn add(&mut self, mode: Mode, payments: &[Payment], answers: &[Answer]) {
        let told = || answers.iter().filter(|answer| !answer.is_of_other_payload);
        let has = |what: fn(Told) -> bool| told().any(|answer| what(answer.told));
        let paid = |only_last: bool| {
            let mut paid: Vec<Payment> = told()
                .filter(|answer| answer.is_last || !only_last)
                .filter_map(|answer| match answer.told {
                    Told::Paid(payment) => Some(payment),
                    _ => None,
                })
                .collect();
            paid.sort_unstable();
            paid.dedup();
            paid
        };
        let (all, last) = (paid(false), paid(true));
        let failed = has(|told| told == Told::Failed);
        let is_unknown = has(|told| told == Told::Unknown);
        let is_full = has(|told| told == Told::Full);
        let is_settled = told().any(|answer| answer.is_last);

        self.operations += 1;
        self.twice += u64::from(payments.len() > 1);
        let is_made_up = all.iter().any(|payment| !payments.contains(payment));
        self.lost += u64::from(is_made_up || !is_settled);
        let has_two = if mode.may_pay_twice() {
            last.len() > 1
        } else {
            all.len() > 1 || failed && !all.is_empty()
        };
        // Where payment and record are one, a failure that is recorded has no payment.
        let is_failed_and_paid = mode == Mode::CommitIn && failed && !payments.is_empty();
        let is_refused_and_paid = is_full && !payments.is_empty();
        self.differently += u64::from(has_two || is_failed_and_paid || is_refused_and_paid);
        let is_mistaken = answers.iter().any(|answer| match answer.told {
            Told::Unexpected(_) => true,
            Told::Reused => !answer.is_of_other_payload,
            Told::Unknown => !mode.may_be_unknown(),
            Told::Full => !mode.may_be_full(),
            Told::Paid(_) | Told::Failed => answer.is_of_other_payload,
            Told::Later | Told::Nothing => false,
        });
        self.mistaken += u64::from(is_mistaken);
        self.open += u64::from(is_unknown || is_full);
    }

    /// Whether all is as it was promised.
    #[must_use]
    pub fn is_kept(&self, mode: Mode) -> bool {
        (self.twice == 0 || mode.may_pay_twice())
            && self.lost == 0
            && self.differently == 0
            && self.mistaken == 0
    }
}

impl std::ops::AddAssign for Verdict {
    fn add_assign(&mut self, other: Self) {
        self.operations += other.operations;
        self.twice += other.twice;
        self.lost += other.lost;
        self.differently += other.differently;
        self.mistaken += other.mistaken;
        self.open += other.open;
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "twice {}, lost {}, differently {}, mistaken {}",
            self.twice, self.lost, self.differently, self.mistaken
        )
    }
}
