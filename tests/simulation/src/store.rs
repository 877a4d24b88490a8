//! The store: the shared [`Database`](crate::database::Database), behind a wire that loses,
//! delays and cuts.

use std::{any::Any, error::Error, future::Future, pin::Pin, time::Duration};

use idempotent_runtime::{
    Claim, RecordId, Store, StoredResponse, Timestamp,
    store::{ClaimAnswer, Completion, DatabaseTransaction, Fence, StoreError, Transactional},
};
use tokio::time::sleep;

use crate::{
    LEASE,
    database::{Database, Operation, Payment},
    server::PAYMENT,
    world::World,
};

/// A server's connection to the shared database.
#[derive(Clone)]
pub(crate) struct SimulatedStore {
    pub(crate) world: World,
    pub(crate) server: usize,
}

/// What becomes of a call.
enum Fate {
    Answered,
    AnswerLost,
    NotSent,
}

impl SimulatedStore {
    async fn call<A>(
        &self,
        (name, id): (&str, &RecordId),
        verb: impl FnOnce(&mut Database, Timestamp) -> A,
    ) -> Result<A, StoreError> {
        let (there, back, fate) = self.wire(name);
        sleep(there).await;
        self.world.gate(self.server).await;
        if matches!(fate, Fate::NotSent) {
            return Err(self.failure(name, "not sent"));
        }
        while self.world.lock().database.is_locked(id) {
            sleep(Duration::from_millis(5)).await;
        }
        let answer = {
            let mut inner = self.world.lock();
            let now = inner.timestamp();
            verb(&mut inner.database, now)
        };
        sleep(back).await;
        self.world.gate(self.server).await;
        if matches!(fate, Fate::AnswerLost) {
            return Err(self.failure(name, "answer lost"));
        }
        Ok(answer)
    }

    /// How long a call takes to get there, and its answer to get back, and what becomes of it.
    fn wire(&self, name: &str) -> (Duration, Duration, Fate) {
        let mut inner = self.world.lock();
        let now = inner.now();
        let is_cut_off = now < inner.cut_off[self.server];
        let (is_calm, mode) = (inner.is_calm, inner.mode);
        let rng = &mut inner.rng;
        let mut millis = |range| Duration::from_millis(rng.u64(range));
        let (there, back) = (millis(1..15), millis(1..15));
        // A renewal that comes through is what `Mode::Calm` is about.
        if is_calm || name == "renew" && !mode.loses_servers() {
            return (there, back, Fate::Answered);
        }
        let late = millis(0..1500).min(LEASE * 5 / 4);
        match rng.u32(..100) {
            _ if is_cut_off => (there, back, Fate::NotSent),
            0..5 => (there, late / 4, Fate::AnswerLost),
            5..9 => (there, back, Fate::NotSent),
            9..12 => (there, late, Fate::Answered),
            12..15 => (late, back, Fate::Answered),
            _ => (there, back, Fate::Answered),
        }
    }

    fn failure(&self, name: &str, what: &'static str) -> StoreError {
        let server = self.server;
        self.world
            .note(format_args!("server {server}: {name}: {what}"));
        StoreError::unavailable(what)
    }

    /// Opens a transaction.
    pub(crate) fn begin(&self) -> Transaction {
        Transaction {
            store: self.clone(),
            payment: None,
            record: None,
        }
    }
}

impl Store for SimulatedStore {
    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, StoreError> {
        let verb = |database: &mut Database, now| database.claim(claim, now);
        self.call(("claim", &claim.id), verb).await
    }

    async fn complete(
        &self,
        claim: &Claim,
        response: &StoredResponse,
    ) -> Result<Completion, StoreError> {
        let verb = |database: &mut Database, now| database.complete(claim, response, now);
        let completion = self.call(("complete", &claim.id), verb).await?;
        if let (Completion::Fenced(_), Some(payment)) = (&completion, payment_in(response)) {
            self.world.lock().fenced.insert(payment);
        }
        Ok(completion)
    }

    async fn release(&self, claim: &Claim) -> Result<Fence, StoreError> {
        let verb = |database: &mut Database, now| database.release(claim, now);
        self.call(("release", &claim.id), verb).await
    }

    async fn renew(&self, claim: &Claim) -> Result<Fence, StoreError> {
        let verb = |database: &mut Database, now| database.renew(claim, now);
        self.call(("renew", &claim.id), verb).await
    }

    fn needs_lease(&self) -> bool {
        true
    }

    fn abandon(&self, _claim: &Claim) {}

    fn as_transactional(&self) -> Option<&dyn Transactional> {
        Some(self)
    }
}

/// The payment that a response names.
fn payment_in(response: &StoredResponse) -> Option<Payment> {
    let (_, value) = response.headers().find(|(name, _)| *name == PAYMENT)?;
    std::str::from_utf8(&value).ok()?.parse().ok()
}

impl Transactional for SimulatedStore {
    fn complete_in<'a>(
        &'a self,
        connection: &'a mut (dyn Any + Send),
        claim: &'a Claim,
        response: &'a StoredResponse,
    ) -> Pin<Box<dyn Future<Output = Result<Completion, StoreError>> + Send + 'a>> {
        Box::pin(async move {
            let Some(transaction) = connection.downcast_mut::<Transaction>() else {
                return Err(StoreError::Unsupported);
            };
            let world = self.world.clone();
            // The lock is the transaction's as soon as it is taken, whatever becomes of the answer.
            let lock = |database: &mut Database, now| {
                let found = database.lock_to_complete(claim, now);
                if found.is_none() {
                    transaction.record = Some(Written {
                        world,
                        claim: *claim,
                        response: response.clone(),
                    });
                }
                found
            };
            let found = self.call(("complete in", &claim.id), lock).await?;
            Ok(found.map_or(Completion::Stored, Completion::Fenced))
        })
    }
}

/// A transaction of the shared database. Dropped, it is rolled back.
pub(crate) struct Transaction {
    store: SimulatedStore,
    payment: Option<(Payment, Operation)>,
    record: Option<Written>,
}

/// A record that nobody sees yet, and its row's lock.
struct Written {
    world: World,
    claim: Claim,
    response: StoredResponse,
}

impl Drop for Written {
    fn drop(&mut self) {
        self.world.lock().database.unlock(&self.claim.id);
    }
}

impl Transaction {
    pub(crate) fn pay(&mut self, operation: Operation) -> Payment {
        let payment = self.store.world.lock().database.next_payment();
        self.payment = Some((payment, operation));
        payment
    }
}

impl DatabaseTransaction for Transaction {
    fn connection(&mut self) -> &mut (dyn Any + Send) {
        self
    }

    async fn commit(self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let Self {
            store,
            payment,
            record,
        } = self;
        // Its own row is locked by itself.
        let (there, back, fate) = store.wire("commit");
        sleep(there).await;
        store.world.gate(store.server).await;
        if matches!(fate, Fate::NotSent) {
            return Err(store.failure("commit", "not sent").into());
        }
        {
            let mut inner = store.world.lock();
            let now = inner.timestamp();
            if let Some((payment, operation)) = payment {
                inner.database.pay(payment, operation);
                inner.note(format_args!(
                    "operation {operation}: payment {payment} committed"
                ));
            }
            if let Some(Written {
                claim, response, ..
            }) = &record
            {
                inner.database.record(claim, response, now);
            }
        }
        drop(record);
        sleep(back).await;
        store.world.gate(store.server).await;
        if matches!(fate, Fate::AnswerLost) {
            return Err(store.failure("commit", "answer lost").into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use idempotent_runtime::store::contract::{Harness, check};

    use super::*;
    use crate::mode::Mode;

    struct Simulated(World);

    impl Harness for Simulated {
        type Store = SimulatedStore;

        async fn store(&self) -> SimulatedStore {
            SimulatedStore {
                world: self.0.clone(),
                server: 0,
            }
        }

        async fn advance(&self, duration: Duration) {
            self.0.lock().advance(duration);
        }

        async fn store_with_room_for(&self, _claims: usize) -> Option<SimulatedStore> {
            None
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_simulated_store_keeps_the_contract() {
        let world = World::new(Mode::CommitIn, 1, false);
        world.lock().is_calm = true;
        check(&Simulated(world)).await;
    }
}
