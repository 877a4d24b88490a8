//! Clients that pay until they know that they have paid.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Extensions;
use idempotent_client::{
    ErrorExt as _, FileKeyStore, IDEMPOTENCY_KEY, IdempotencyKey, IdempotencyMiddleware,
    MemoryKeyStore, Operation, ResponseExt as _, Retry, RetryPolicy,
};
use reqwest::{Response, StatusCode};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};
use serde_json::{Value, json};

/// Who pays.
pub(crate) const CALLERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// One in so many operations has its key in a file, is dropped in the middle.
const IN_A_FILE: u64 = 10;
const DROPPED: u64 = 12;

/// Which clients pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clients {
    /// As this project's client is.
    Real,
    /// With another key in each attempt.
    NewKeyInEachAttempt,
    /// Taking a 401 for the end of the operation, also after a lost attempt.
    NewKeyAfterARefusal,
}

/// A payment, as the ledger has it and as a client was told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Payment {
    pub(crate) operation: String,
    caller: String,
    id: String,
    amount: i64,
}

impl Payment {
    pub(crate) fn of(caller: &str, entry: &Value) -> Self {
        let text = |member: &str| entry[member].as_str().unwrap().to_owned();
        Self {
            operation: text("user"),
            caller: caller.to_owned(),
            id: text("id"),
            amount: entry["amount"].as_i64().unwrap(),
        }
    }
}

/// What the clients saw.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) told: Vec<Payment>,
    pub(crate) runs: usize,
    pub(crate) attempts: usize,
    pub(crate) replays: usize,
    pub(crate) uncertain: usize,
    pub(crate) dropped: usize,
}

impl Clients {
    /// Makes this many payments, so many at the same time.
    pub(crate) async fn pay(
        self,
        address: SocketAddr,
        operations: usize,
        clients: usize,
        seed: u64,
    ) -> Tally {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys.json");
        // Two that share a file, as two processes do.
        let files = [
            FileKeyStore::open(&keys).await.unwrap(),
            FileKeyStore::open(&keys).await.unwrap(),
        ];
        let tally = Arc::new(Mutex::new(Tally::default()));
        let url = format!("http://{address}/payments");
        let paying = (0..clients).map(|number| {
            let retry = Retry::new(policy());
            let payer = Payer {
                clients: self,
                url: url.clone(),
                in_memory: self.client(retry.clone().key_store(MemoryKeyStore::new())),
                in_file: self.client(retry.key_store(files[number % 2].clone())),
                tally: Arc::clone(&tally),
            };
            tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(seed ^ number as u64);
                for operation in (number..operations).step_by(clients) {
                    payer.pay(operation, &mut random).await;
                }
            })
        });
        for paying in paying.collect::<Vec<_>>() {
            paying.await.unwrap();
        }
        std::mem::take(&mut tally.lock().unwrap())
    }

    fn client(self, retry: Retry) -> ClientWithMiddleware {
        let client = ClientBuilder::new(reqwest::Client::new());
        let client = client.with(IdempotencyMiddleware::new(retry));
        match self {
            Self::NewKeyInEachAttempt => client.with(AnotherKey).build(),
            Self::Real | Self::NewKeyAfterARefusal => client.build(),
        }
    }
}

fn policy() -> RetryPolicy {
    RetryPolicy::default()
        .max_attempts(4)
        .attempt_timeout(Duration::from_secs(2))
        .intervals(Duration::from_millis(5), Duration::from_millis(100))
}

/// What no client should do.
struct AnotherKey;

#[async_trait::async_trait]
impl Middleware for AnotherKey {
    async fn handle(
        &self,
        mut request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let key = IdempotencyKey::random().to_header_value();
        request.headers_mut().insert(IDEMPOTENCY_KEY, key);
        next.run(request, extensions).await
    }
}

struct Payer {
    clients: Clients,
    url: String,
    in_memory: ClientWithMiddleware,
    in_file: ClientWithMiddleware,
    tally: Arc<Mutex<Tally>>,
}

/// What is known after one run.
enum Known {
    Paid(Payment),
    /// Nothing was done, and nothing will be.
    NotPaid,
    /// The key is to be used again; this one, if the operation has no name.
    Uncertain(IdempotencyKey),
    /// The future was dropped.
    Dropped,
}

impl Payer {
    /// Runs an operation until it is known to be paid.
    async fn pay(&self, number: usize, random: &mut fastrand::Rng) {
        let name = format!("operation {number}");
        let is_in_file = random.u64(0..IN_A_FILE) == 0;
        let is_named = is_in_file || random.bool();
        let client = if is_in_file {
            &self.in_file
        } else {
            &self.in_memory
        };
        let start = || {
            if is_named {
                Operation::named(&name)
            } else {
                Operation::new()
            }
        };
        let mut operation = start();
        // A run in which nothing is lost comes long before that.
        for _ in 0..100 {
            // Without a name, the key would be gone.
            let is_dropped = is_named && random.u64(0..DROPPED) == 0;
            let patience = is_dropped.then(|| Duration::from_millis(random.u64(0..60)));
            match self.run(client, number, operation.clone(), patience).await {
                Known::Paid(payment) => {
                    self.tally.lock().unwrap().told.push(payment);
                    return;
                }
                Known::NotPaid => operation = start(),
                Known::Uncertain(key) if !is_named => operation = Operation::with_key(key),
                Known::Uncertain(_) | Known::Dropped => {}
            }
        }
        panic!("{name} was never paid");
    }

    async fn run(
        &self,
        client: &ClientWithMiddleware,
        number: usize,
        operation: Operation,
        patience: Option<Duration>,
    ) -> Known {
        let caller = CALLERS[number % CALLERS.len()];
        let request = client
            .post(&self.url)
            .bearer_auth(caller)
            .json(&json!({ "user": format!("operation {number}"), "amount": 1 + number, "currency": "USD" }))
            .with_extension(operation);
        self.tally.lock().unwrap().runs += 1;
        let sent = match patience {
            None => Ok(request.send().await),
            Some(patience) => tokio::time::timeout(patience, request.send()).await,
        };
        let Ok(sent) = sent else {
            self.tally.lock().unwrap().dropped += 1;
            return Known::Dropped;
        };
        let known = match sent {
            Ok(response) => self.judge(caller, response).await,
            Err(error) => {
                let attempts = error.idempotency().and_then(|error| error.attempts());
                let attempts = attempts.unwrap_or_else(|| panic!("{error:?}"));
                self.tally.lock().unwrap().attempts += attempts.count() as usize;
                Known::Uncertain(attempts.key().clone())
            }
        };
        if matches!(known, Known::Uncertain(_)) {
            self.tally.lock().unwrap().uncertain += 1;
        }
        known
    }

    async fn judge(&self, caller: &str, response: Response) -> Known {
        let attempts = response.idempotency().unwrap().clone();
        {
            let mut tally = self.tally.lock().unwrap();
            tally.attempts += attempts.count() as usize;
            tally.replays += usize::from(attempts.is_replay());
        }
        match response.status() {
            StatusCode::CREATED => {
                assert!(attempts.is_certain());
                // The response was held until it was whole.
                Known::Paid(Payment::of(caller, &response.json().await.unwrap()))
            }
            StatusCode::UNAUTHORIZED if self.clients == Clients::NewKeyAfterARefusal => {
                Known::NotPaid
            }
            _ if attempts.is_certain() => Known::NotPaid,
            _ => Known::Uncertain(attempts.key().clone()),
        }
    }
}
