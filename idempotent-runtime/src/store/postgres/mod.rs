//! Claims and records in `PostgreSQL`.
//!
//! Each verb is one call of a function that lives beside the table. What must not depend on the
//! user's pool, because handlers may hold all of its connections in their transactions, is done
//! on connections of the store's own: see [`attendant`].

mod answer;
mod attendant;
mod builder;
mod failure;
mod inspect;
mod listener;
mod renewals;
mod statement;
mod table;
mod watched;

use std::{any::Any, fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use tokio::time::{sleep, timeout};

use self::{
    answer::{Failure, Verdict},
    attendant::{Attendant, Connecting},
    failure::{contended, store_error, timed_out},
    statement::Statements,
    table::Table,
    watched::POLL_PAUSE,
};
pub use self::{builder::PostgresStoreBuilder, table::InvalidTableName};
use super::{ClaimAnswer, Completion, Fence, Inspect, Notify, Store, StoreError, Transactional};
use crate::core::{
    fingerprint::Fingerprint, protocol::Found, record::Claim, response::StoredResponse,
};

/// How often a statement is sent again that found somebody else changing the row. The pauses
/// between double, from one millisecond.
const ATTEMPTS: u32 = 9;
/// From which attempt on a row that stays locked is answered as it was last committed.
const PATIENT_ATTEMPTS: u32 = 4;

/// Claims and records in a table of `PostgreSQL` 12 or newer, for any number of processes.
///
/// ```no_run
/// use std::time::Duration;
/// use idempotent_runtime::PostgresStore;
/// use sqlx::postgres::PgPoolOptions;
///
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = PgPoolOptions::new().test_before_acquire(false).connect("postgres://…").await?;
/// let store = PostgresStore::builder(pool)
///     .table("app.idempotency_records")
///     .timeout(Duration::from_secs(2))
///     .build()?;
/// store.migrate().await?;
/// tokio::spawn(store.sweep_every(Duration::from_secs(60)));
/// # Ok(()) }
/// ```
///
/// # Connections
///
/// Claims, completions and releases take a connection of the pool, for one round trip each. Two
/// more connections per process are the store's own, made when they are first needed and closed
/// when they have not been for a minute: one renews leases, so that handlers that hold every
/// connection of the pool do not lose their claims, and one listens for ends of claims that
/// somebody in this process waits for. They run on a thread of the store's own. While the
/// listening connection is lost, or goes through a proxy that cannot carry `LISTEN`, waiters
/// look every 100 ms.
///
/// The pool's `test_before_acquire`, which is on unless turned off, adds a round trip to every
/// call. The store does without: a verb whose connection turns out to be lost, because the server
/// was restarted or ended it for its idleness, is sent again on another.
///
/// # Proxies and prepared statements
///
/// No session state is used: the store works behind a proxy that gives every transaction another
/// connection. Where that is so, and the proxy does not keep track of prepared statements (as
/// `PgBouncer` does from 1.21 on, with `max_prepared_statements`), the pool's connections must not
/// keep any: `PgConnectOptions::statement_cache_capacity(0)`, as for all else that sqlx does
/// there. The store sees that, prepares nothing either, and writes values into the text of its
/// statements, as digits.
///
/// Whoever logs statements (`sqlx::query` at debug level, and at warn level those that take
/// longer than a second; the server, when told to) then has recorded bodies in those logs, as
/// hexadecimal digits. Where that can be, use `PgConnectOptions::disable_statement_logging`, or
/// seal the records (feature `encrypt`).
///
/// # Transactions
///
/// `Execution::commit_in` writes the record in the handler's own transaction. While that is open,
/// the row is answered as it was before: running. Only where the id has no row (its lease ended
/// and it was swept, or another run took it over and released it) a claim of the same id waits for
/// the transaction, for one second at most, before it is answered so.
///
/// Nor is the lease renewed meanwhile, and it need not be: nobody gets the claim. If the
/// transaction is rolled back after the lease has ended, the claim is the next one's who asks,
/// until it is renewed, which is tried again after a twelfth of the lease. A run that lost its
/// claim so is fenced as any other.
///
/// `READ COMMITTED`, the server's default, is the level to use. Under `REPEATABLE READ` and
/// `SERIALIZABLE` a lease that is renewed after the transaction's first statement makes `commit_in`
/// fail with a serialization failure; then nothing is committed and nothing is lost, and the
/// handler may begin its transaction again. So such a transaction should take less than a third of
/// the lease. A retry that begins to wait after its first statement does not disturb it, and is
/// answered within a second of its end rather than at once.
///
/// Cloning gives another handle on the same store.
#[derive(Clone)]
pub struct PostgresStore(Arc<Shared>);

struct Shared {
    pool: PgPool,
    table: Table,
    statements: Arc<Statements>,
    timeout: Duration,
    attendant: Attendant,
}

impl PostgresStore {
    /// A store in the table `idempotency_records`, with the defaults of
    /// [`builder`](Self::builder). Asks nothing of the server yet.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self::with(Self::builder(pool), Table::default())
    }

    /// A store with options of its own.
    pub fn builder(pool: PgPool) -> PostgresStoreBuilder {
        PostgresStoreBuilder::new(pool)
    }

    fn with(options: PostgresStoreBuilder, table: Table) -> Self {
        let statements = Arc::new(Statements::new(&table, options.names_statements()));
        let attendant = Attendant::new(Connecting {
            pool: options.pool.clone(),
            options: options.own_connections,
            timeout: options.timeout,
            table: table.clone(),
            statements: Arc::clone(&statements),
        });
        Self(Arc::new(Shared {
            pool: options.pool,
            table,
            statements,
            timeout: options.timeout,
            attendant,
        }))
    }

    /// Creates the table and what belongs to it, where they are not there yet. May be called by
    /// several processes at once and again at any time. Needs the right to create in the schema;
    /// whoever manages schemas in another way runs `sql/postgres.sql` there instead.
    ///
    /// Waits for other processes that do the same, and has no time limit. All of it happens or
    /// nothing.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        // One transaction, in which nobody is told of what is there already.
        let schema = self.0.table.schema();
        let quiet = AssertSqlSafe(format!(
            "SET LOCAL client_min_messages = warning;\n{schema}"
        ));
        let done = sqlx::raw_sql(quiet).execute(&self.0.pool).await;
        done.map_err(|error| store_error(error, &self.0.table, false))?;
        Ok(())
    }

    /// Whether the server answers and the table is there; for health checks.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let asked = sqlx::raw_sql(AssertSqlSafe(self.0.statements.ping.as_str()));
        self.0.timed(asked.execute(&self.0.pool)).await?;
        Ok(())
    }

    /// Removes expired rows, at most `limit`, and gives their number.
    ///
    /// Nobody needs to call this for correctness: what has expired is as good as absent. It gives
    /// the room back. Any number of processes may sweep at the same time; none waits for another.
    /// Dropped, it has removed all that it would have or nothing.
    pub async fn sweep(&self, limit: u32) -> Result<u64, StoreError> {
        let sweep = sqlx::raw_sql(AssertSqlSafe(self.0.statements.sweep(limit)));
        let done = self.0.timed(sweep.execute(&self.0.pool)).await?;
        Ok(done.rows_affected())
    }

    /// Sweeps now and after every `interval`: to be spawned. A sweep that fails is logged, and the
    /// next one comes all the same. Ends when the store's last handle is dropped.
    pub fn sweep_every(&self, interval: Duration) -> impl Future<Output = ()> + Send + 'static {
        const LIMIT: u32 = 1000;
        let shared = Arc::downgrade(&self.0);
        async move {
            while let Some(store) = shared.upgrade().map(Self) {
                match store.sweep(LIMIT).await {
                    // There may be more.
                    Ok(removed) if removed >= LIMIT.into() => continue,
                    Ok(_) => {}
                    Err(error) => tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "expired records could not be removed and will be tried again",
                    ),
                }
                drop(store);
                sleep(interval).await;
            }
        }
    }
}

impl Shared {
    /// With the time limit.
    async fn timed<T>(
        &self,
        asked: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        let answer = timeout(self.timeout, asked).await;
        let answer = answer.map_err(|_| timed_out(self.timeout))?;
        answer.map_err(|error| store_error(error, &self.table, false))
    }

    /// Sends a statement until it has met nobody else at the row, and all of that in the time
    /// limit. Each time it either did all that was asked or nothing.
    async fn settled<F: From<Found>, A: Future<Output = Result<Verdict<F>, Failure>>>(
        &self,
        claim: Option<&Claim>,
        ask: impl Fn() -> A,
    ) -> Result<Option<F>, StoreError> {
        let settle = async {
            let mut is_unknown = false;
            // As many of the pool's connections can have been lost while nobody used them.
            let mut stale = self.pool.size();
            let mut attempt = 0;
            while attempt < ATTEMPTS {
                match ask().await {
                    Ok(Verdict::Passed | Verdict::Before(_)) => return Ok(None),
                    Ok(Verdict::Found(found)) => return Ok(Some(found)),
                    // A transaction holds the row and stays open: the answer is what was there
                    // when it was last committed, and that nobody can have it now.
                    Ok(Verdict::Again(Some(fingerprint))) if attempt >= PATIENT_ATTEMPTS => {
                        return Ok(Some(running(fingerprint).into()));
                    }
                    Ok(Verdict::Again(_)) => {}
                    Err(failure) if failure.is_lost() && stale > 0 => {
                        // What it was asked for may be what is in the way now.
                        is_unknown = true;
                        stale -= 1;
                        continue;
                    }
                    Err(failure) if failure.is_transient() && attempt + 1 < ATTEMPTS => {
                        is_unknown |= failure.is_lost();
                    }
                    Err(failure) if claim.is_some() && !is_unknown && failure.is_locked() => break,
                    Err(failure) => {
                        let claims_nothing_yet = claim.is_some() && !is_unknown;
                        return Err(failure.into_store_error(&self.table, claims_nothing_yet));
                    }
                }
                sleep(Duration::from_millis(1 << attempt)).await;
                attempt += 1;
            }
            // The server has answered, and said that others are at this very id.
            let claim = claim.filter(|_| !is_unknown);
            let found = claim.map(|claim| running(claim.fingerprint).into());
            found.map(Some).ok_or_else(contended)
        };
        let settled = timeout(self.timeout, settle).await;
        settled.map_err(|_| timed_out(self.timeout))?
    }
}

impl Store for PostgresStore {
    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, StoreError> {
        let Shared {
            pool, statements, ..
        } = &*self.0;
        let ask = || statements.claim(pool, claim);
        let found = self.0.settled(Some(claim), ask).await?;
        Ok(found.map_or(ClaimAnswer::Claimed, ClaimAnswer::Found))
    }

    async fn complete(
        &self,
        claim: &Claim,
        response: &StoredResponse,
    ) -> Result<Completion, StoreError> {
        let Shared {
            pool, statements, ..
        } = &*self.0;
        let ask = || statements.complete(pool, claim, response);
        let found = self.0.settled(None, ask).await?;
        Ok(found.map_or(Completion::Stored, Completion::Fenced))
    }

    async fn release(&self, claim: &Claim) -> Result<Fence, StoreError> {
        let Shared {
            pool, statements, ..
        } = &*self.0;
        let ask = || statements.release(pool, claim);
        let foreign = self.0.settled(None, ask).await?;
        Ok(fence(foreign.is_none()))
    }

    async fn renew(&self, claim: &Claim) -> Result<Fence, StoreError> {
        self.0.attendant.renew(claim).await.map(fence)
    }

    fn needs_lease(&self) -> bool {
        true
    }

    /// The claim is left to its lease.
    fn abandon(&self, _: &Claim) {}

    fn as_notify(&self) -> Option<&dyn Notify> {
        Some(self)
    }

    fn as_transactional(&self) -> Option<&dyn Transactional> {
        Some(self)
    }

    fn as_inspect(&self) -> Option<&dyn Inspect> {
        Some(self)
    }
}

impl Notify for PostgresStore {
    fn ended<'a>(&'a self, claim: &'a Claim) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async {
            match self.0.attendant.watch(claim.id) {
                Ok(waiter) => waiter.ended().await,
                // Too early is allowed, and whoever asks again is not asked without pause.
                Err(_) => sleep(POLL_PAUSE).await,
            }
        })
    }
}

impl Transactional for PostgresStore {
    fn complete_in<'a>(
        &'a self,
        connection: &'a mut (dyn Any + Send),
        claim: &'a Claim,
        response: &'a StoredResponse,
    ) -> Pin<Box<dyn Future<Output = Result<Completion, StoreError>> + Send + 'a>> {
        Box::pin(async {
            let connection: &mut PgConnection =
                connection.downcast_mut().ok_or(StoreError::Unsupported)?;
            let Shared {
                table, statements, ..
            } = &*self.0;
            let limit = self.0.timeout;
            let complete = async {
                for attempt in 0..ATTEMPTS {
                    match statements.complete(&mut *connection, claim, response).await {
                        Ok(Verdict::Passed) => return Ok(Completion::Stored),
                        Ok(Verdict::Found(found) | Verdict::Before(found)) => {
                            return Ok(Completion::Fenced(found));
                        }
                        Ok(Verdict::Again(_)) => {}
                        // Whatever failed, the transaction is over.
                        Err(failure) => return Err(failure.into_store_error(table, false)),
                    }
                    sleep(Duration::from_millis(1 << attempt)).await;
                }
                Err(contended())
            };
            timeout(limit, complete)
                .await
                .map_err(|_| timed_out(limit))?
        })
    }
}

/// Somebody is at the id, and nobody knows for how long.
fn running(fingerprint: Fingerprint) -> Found {
    Found::Running {
        fingerprint,
        lease_left: Some(Duration::ZERO),
    }
}

fn fence(was_owner: bool) -> Fence {
    if was_owner {
        Fence::Passed
    } else {
        Fence::Fenced
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the pool: its options hold the password.
        formatter
            .debug_struct("PostgresStore")
            .field("table", &self.0.table.to_string())
            .field("timeout", &self.0.timeout)
            .finish_non_exhaustive()
    }
}
