//! Functions that are no handlers.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use idempotent_runtime::{
    CommitInError, Idempotency, MemoryStore, OnceError, OnceExecution, idempotent,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

static IDEMPOTENCY: LazyLock<Idempotency> =
    LazyLock::new(|| Idempotency::builder(MemoryStore::default()).build());

#[derive(Clone)]
struct State {
    idempotency: Idempotency,
}

#[derive(Serialize, Deserialize)]
struct Paid {
    id: u64,
    customer: String,
    amount: i64,
}

#[derive(Serialize, Deserialize)]
struct Receipt(u64);

/// Not serialisable.
#[derive(Debug)]
enum Failed {
    Once(OnceError),
    Commit(CommitInError),
}

impl From<OnceError> for Failed {
    fn from(error: OnceError) -> Self {
        Self::Once(error)
    }
}

impl From<CommitInError> for Failed {
    fn from(error: CommitInError) -> Self {
        Self::Commit(error)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Recorded(String);

impl From<OnceError> for Recorded {
    fn from(error: OnceError) -> Self {
        Self(error.to_string())
    }
}

/// As in the documentation.
#[idempotent(runtime = state.idempotency, key = event.id, scope = "global", ttl = "7d")]
async fn on_paid(state: Arc<State>, event: Paid) -> Result<Receipt, Failed> {
    let _ = &state;
    Ok(Receipt(event.id))
}

#[idempotent(
    runtime = IDEMPOTENCY,
    key = format_args!("{}/{}", event.customer, event.id),
    scope = event.customer,
    fingerprint = (event.amount, &event.customer),
    wait = "5s",
    lease = "1m",
    on_lost = "refuse",
    store_down = "run",
    max_response = "64KiB",
    operation = "on paid",
    errors = "record",
)]
pub async fn every_argument(mut event: Paid) -> Result<Receipt, Recorded> {
    event.amount += 1;
    Ok(Receipt(event.id))
}

#[idempotent(runtime = idempotency, key = id, scope = "global", fingerprint = "none")]
async fn patterns(
    State { idempotency }: State,
    (id, mut customer): (u64, String),
) -> Result<String, Failed> {
    let _ = idempotency;
    customer.push('!');
    Ok(format!("{id} {customer}"))
}

/// The handle on the run is not passed in.
#[idempotent(runtime = idempotency, key = id, scope = "global", errors = "release")]
async fn with_execution(
    idempotency: &'static Idempotency,
    execution: OnceExecution<u64>,
    id: u64,
) -> Result<u64, Failed> {
    let _ = (idempotency, execution.key());
    execution.release();
    Ok(id)
}

#[idempotent(runtime = state.idempotency, key = key, scope = "global")]
async fn generic<K: fmt::Display + Send + 'static, T>(
    state: State,
    key: K,
    value: T,
) -> Result<T, Failed>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    drop((state, key));
    Ok(value)
}

struct Consumer;

impl Consumer {
    const FEE: u64 = 1;

    #[idempotent(runtime = state.idempotency, key = id, scope = "global", operation = "fee")]
    async fn associated(state: State, id: u64) -> Result<u64, Failed> {
        drop(state);
        Ok(id + Self::FEE)
    }

    #[idempotent(runtime = state.idempotency, key = id, scope = "global")]
    async fn without_self(state: State, id: u64) -> Result<u64, Failed> {
        drop(state);
        Ok(id)
    }
}

fn main() {
    fn spawned(_: impl Future + Send + 'static) {}

    let idempotency = IDEMPOTENCY.clone();
    let state = State { idempotency };
    let paid = || Paid {
        id: 1,
        customer: String::new(),
        amount: 1,
    };
    spawned(on_paid(Arc::new(state.clone()), paid()));
    spawned(every_argument(paid()));
    spawned(patterns(state.clone(), (1, String::new())));
    spawned(with_execution(&IDEMPOTENCY, 1));
    spawned(generic(state.clone(), "k", vec![1]));
    spawned(Consumer::associated(state.clone(), 1));
    spawned(Consumer::without_self(state, 1));
}
