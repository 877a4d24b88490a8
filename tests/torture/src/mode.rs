//! On which store the servers are, and what is promised there.

use std::time::Duration;

use crate::run::SHORT_LEASE;

/// A store, and how the handlers use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One process that keeps all in its memory, and is not killed.
    Memory,
    /// Payment and record in one transaction of SQLite.
    Sqlite,
    /// Payment and record in one transaction of PostgreSQL.
    Postgres,
    /// Records in PostgreSQL, payments elsewhere, `on_lost = "refuse"`.
    PostgresRefuse,
    /// Records in Redis, payments elsewhere, `on_lost = "refuse"`.
    RedisRefuse,
    /// Records in Redis, payments elsewhere, `on_lost = "rerun"`.
    RedisRerun,
    /// The same as with `refuse`, and nothing lasts as long as a lease: nobody is lost, so nothing
    /// is run again and nothing is unknown.
    RedisMild,
}

/// What clients may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// One payment for each operation that is told to be paid, none for others that are settled.
    ExactlyOnce,
    /// As long as nobody is lost, one run for each operation. A run that fails after its
    /// payment is recorded as it ended.
    OneRun,
    /// One payment at the most. What was lost with a process is told to be unknown.
    AtMostOnce,
    /// At least one payment for what is told to be paid. A run that is lost after its payment is
    /// run again.
    AtLeastOnce,
}

impl Mode {
    pub(crate) const ALL: [Self; 7] = [
        Self::Memory,
        Self::Sqlite,
        Self::Postgres,
        Self::PostgresRefuse,
        Self::RedisRefuse,
        Self::RedisRerun,
        Self::RedisMild,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::PostgresRefuse => "postgres-refuse",
            Self::RedisRefuse => "redis-refuse",
            Self::RedisRerun => "redis-rerun",
            Self::RedisMild => "redis-mild",
        }
    }

    pub(crate) fn promise(self) -> Promise {
        match self {
            Self::Memory | Self::RedisMild => Promise::OneRun,
            Self::Sqlite | Self::Postgres => Promise::ExactlyOnce,
            Self::PostgresRefuse | Self::RedisRefuse => Promise::AtMostOnce,
            Self::RedisRerun => Promise::AtLeastOnce,
        }
    }

    /// Whether the records outlive a server.
    pub(crate) fn outlives_a_server(self) -> bool {
        self != Self::Memory
    }

    /// Whether servers are killed, crash and stand still.
    pub(crate) fn loses_servers(self) -> bool {
        !matches!(self, Self::Memory | Self::RedisMild)
    }

    /// Short, so that it ends often; or so long that it does not.
    pub(crate) fn lease(self) -> Duration {
        if self == Self::RedisMild {
            Duration::from_secs(20)
        } else {
            SHORT_LEASE
        }
    }

    pub(crate) fn store_has_a_server(self) -> bool {
        !matches!(self, Self::Memory | Self::Sqlite)
    }

    /// Whether the store's server can be left without room.
    pub(crate) fn store_can_be_filled(self) -> bool {
        matches!(self, Self::RedisRefuse | Self::RedisRerun | Self::RedisMild)
    }

    /// `ON_LOST`, where it is not the attribute's.
    pub(crate) fn on_lost(self) -> Option<&'static str> {
        matches!(
            self,
            Self::PostgresRefuse | Self::RedisRefuse | Self::RedisMild
        )
        .then_some("refuse")
    }

    /// Whether the payments are in a file of their own.
    pub(crate) fn has_ledger_elsewhere(self) -> bool {
        matches!(
            self,
            Self::PostgresRefuse | Self::RedisRefuse | Self::RedisRerun | Self::RedisMild
        )
    }
}
