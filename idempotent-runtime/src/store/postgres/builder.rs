//! The options of a store.

use std::{fmt, time::Duration};

use sqlx::{ConnectOptions as _, PgPool, postgres::PgConnectOptions};

use super::{
    PostgresStore,
    table::{InvalidTableName, Table},
};

/// Sets the options of a [`PostgresStore`].
#[derive(Clone)]
#[must_use]
pub struct PostgresStoreBuilder {
    pub(super) pool: PgPool,
    pub(super) own_connections: Option<PgConnectOptions>,
    pub(super) table: Option<String>,
    pub(super) timeout: Duration,
    pub(super) named_statements: Option<bool>,
}

impl PostgresStoreBuilder {
    pub(super) fn new(pool: PgPool) -> Self {
        Self {
            pool,
            own_connections: None,
            table: None,
            timeout: Duration::from_secs(5),
            named_statements: None,
        }
    }

    /// The table of claims and records, `idempotency_records` unless set. May name its schema,
    /// `app.idempotency_records`; without one the connections' `search_path` decides. The names of
    /// what belongs to it, functions and a second table, begin with its own.
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.table = Some(name.into());
        self
    }

    /// The longest that a call may take, waiting for a connection of the pool included; 5 s
    /// unless set. After that it fails as unavailable, and may or may not have happened.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether the pool's connections keep the store's prepared statements. As the pool says
    /// unless set: if its `statement_cache_capacity` is 0, they keep none.
    ///
    /// With them, values are sent beside a statement and not in its text, which costs the server
    /// less, and keeps recorded bodies out of the logs of statements. They **must not** be used
    /// behind a proxy that gives each transaction another connection, such as PgBouncer in
    /// transaction mode, unless that keeps track of prepared statements (PgBouncer 1.21 with
    /// `max_prepared_statements`).
    pub fn named_statements(mut self, named: bool) -> Self {
        self.named_statements = Some(named);
        self
    }

    pub(super) fn names_statements(&self) -> bool {
        self.named_statements.unwrap_or_else(|| {
            // The only way in which the driver tells.
            let address = self.pool.connect_options().to_url_lossy();
            let capacity = address
                .query_pairs()
                .find(|(name, _)| name == "statement-cache-capacity");
            capacity.is_none_or(|(_, capacity)| capacity != "0")
        })
    }

    /// How the store's own two connections are made, the one that renews leases and the one that
    /// listens for ends of claims; as the pool's are unless set.
    ///
    /// To be set when the pool's connections go through a proxy that cannot carry `LISTEN`: a
    /// direct connection lets waiters be woken rather than look every 100 ms. And when the pool
    /// prepares its connections in `after_connect`, such as with a role or a `search_path` that
    /// the table needs, because these two do not come from it.
    pub fn own_connections(mut self, options: PgConnectOptions) -> Self {
        self.own_connections = Some(options);
        self
    }

    /// The store. Asks nothing of the server yet.
    pub fn build(self) -> Result<PostgresStore, InvalidTableName> {
        let table = match &self.table {
            Some(name) => Table::parse(name)?,
            None => Table::default(),
        };
        Ok(PostgresStore::with(self, table))
    }
}

impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither pool nor options: they may hold a password.
        formatter
            .debug_struct("PostgresStoreBuilder")
            .field("table", &self.table)
            .field("timeout", &self.timeout)
            .field("named_statements", &self.named_statements)
            .finish_non_exhaustive()
    }
}
