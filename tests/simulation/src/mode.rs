//! What is simulated, and what is promised of it.

use idempotent_runtime::OnLost;

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Payment and record in one transaction.
    CommitIn,
    /// Payments by themselves, and nobody runs again what was lost.
    Refuse,
    /// Payments by themselves, and what was lost is run again.
    Rerun,
    /// The same, but no server is lost or stands still, and renewals come through.
    Calm,
    /// One server with a [`MemoryStore`](idempotent_runtime::MemoryStore) that becomes full.
    Memory,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::CommitIn,
        Self::Refuse,
        Self::Rerun,
        Self::Calm,
        Self::Memory,
    ];

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CommitIn => "commit-in",
            Self::Refuse => "refuse",
            Self::Rerun => "rerun",
            Self::Calm => "calm",
            Self::Memory => "memory",
        }
    }

    /// The mode of a seed, where none is asked for.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        match seed % 5 {
            0 => Self::CommitIn,
            1 => Self::Refuse,
            2 => Self::Rerun,
            3 => Self::Calm,
            _ => Self::Memory,
        }
    }

    pub(crate) fn on_lost(self) -> OnLost {
        match self {
            Self::Refuse => OnLost::Refuse,
            _ => OnLost::Rerun,
        }
    }

    pub(crate) fn servers(self) -> usize {
        match self {
            Self::Memory => 1,
            _ => 3,
        }
    }

    /// Whether servers are ended, and stand still for longer than their leases.
    pub(crate) fn loses_servers(self) -> bool {
        matches!(self, Self::CommitIn | Self::Refuse | Self::Rerun)
    }

    /// Whether an operation may be paid for twice: by a run that was lost after its payment, and
    /// by the one in its place.
    pub(crate) fn may_pay_twice(self) -> bool {
        self == Self::Rerun
    }

    /// Whether nobody may know what became of an operation.
    pub(crate) fn may_be_unknown(self) -> bool {
        self == Self::Refuse
    }

    /// Whether there may never be room for an operation.
    pub(crate) fn may_be_full(self) -> bool {
        self == Self::Memory
    }
}
