//! The example applications as processes that are killed, stopped and told a wrong time, on stores
//! that outlive them.

#![allow(clippy::unwrap_used)]

use std::{
    net::SocketAddr,
    process::{Child, Command},
    time::Duration,
};

use idempotent_tests::{
    Request, Response,
    example::{self, built},
    soon,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// An example application that runs.
struct Process {
    child: Child,
    address: SocketAddr,
}

/// How the applications of a test are started.
struct Setup {
    application: &'static str,
    store: String,
    folder: TempDir,
    settings: Vec<(&'static str, &'static str)>,
}

/// A store that outlives a process.
#[derive(Clone, Copy)]
enum Kind {
    Sqlite,
    Postgres,
    Redis,
}

impl Setup {
    fn new(application: &'static str, kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let env = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name}: use tests/run"));
        let store = match kind {
            Kind::Sqlite => format!("sqlite:{}", folder.path().join("payments.db").display()),
            Kind::Postgres => env("POSTGRES_URL"),
            Kind::Redis => env("REDIS_URL"),
        };
        Self {
            application,
            store,
            folder,
            settings: Vec::new(),
        }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.settings.push((name, value));
        self
    }

    fn start(&self) -> Process {
        self.start_by(Command::new(built(self.application)))
    }

    fn start_by(&self, mut command: Command) -> Process {
        command
            .env("STORE", &self.store)
            .envs(self.settings.iter().copied());
        if self.store.starts_with("redis") {
            command.env("LEDGER", self.folder.path().join("ledger.db"));
        }
        let (child, address) = example::start(command);
        Process { child, address }
    }
}

impl Process {
    fn pay(&self, user: &str) -> Request {
        let payment = json!({ "user": user, "amount": 100, "currency": "USD" });
        Request::new(self.address, "POST", "/payments")
            .header("authorization", format!("Bearer {user}"))
            .key("one-payment")
            .json(&payment)
    }

    async fn payments(&self, user: &str) -> Vec<Value> {
        let list = Request::new(self.address, "GET", "/payments");
        let list = list.header("authorization", format!("Bearer {user}"));
        let list = list.send().await;
        assert_eq!(list.status, 200, "{list:?}");
        list.json().as_array().unwrap().clone()
    }

    /// Whether a handler runs. That its claim is in the store does not say so yet.
    async fn is_running(&self) -> bool {
        let metrics = Request::new(self.address, "GET", "/metrics").send().await;
        let mut lines = metrics.text().lines();
        lines.any(|line| line == "idempotency_running_handlers 1")
    }

    /// As `kill -9` does.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A caller that no other test and no earlier run has.
fn somebody() -> String {
    use std::time::{SystemTime, UNIX_EPOCH};

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("user-{}-{}", std::process::id(), now.as_nanos())
}

/// Sends a request whose handler takes its time, and waits until it runs.
#[allow(clippy::async_yields_async)] // Its response is not waited for here.
async fn hold(process: &Process, user: &str, millis: u32) -> JoinHandle<Response> {
    let slow = process
        .pay(user)
        .header("x-demo-delay-ms", millis.to_string());
    soon("the operation runs", async {
        loop {
            let held = tokio::spawn({
                let slow = slow.clone();
                async move { slow.send().await }
            });
            while !held.is_finished() {
                if process.is_running().await {
                    return held;
                }
            }
            // A store that is slow to begin with may have been given up.
            let refused = held.await.unwrap();
            assert!(matches!(refused.status, 409 | 503), "{refused:?}");
        }
    })
    .await
}

#[tokio::test]
async fn the_environment_turns_protection_off_and_lets_operators_in() {
    for application in ["axum-payments", "actix-payments"] {
        let setup = Setup::new(application, Kind::Sqlite);
        let (process, user) = (setup.start(), somebody());
        process.pay(&user).send().await.assert_first(201);
        let lost = |process: &Process, token: &str| {
            Request::new(process.address, "GET", "/admin/idempotency/lost")
                .header("authorization", format!("Bearer {token}"))
        };
        let without = lost(&process, "").send().await;
        assert_eq!(without.status, 404, "there are no such routes");
        process.kill();

        let setup = setup
            .with("IDEMPOTENCY_DISABLED", "1")
            .with("ADMIN_TOKEN", "hush");
        let process = setup.start();
        for _ in 0..2 {
            process.pay(&user).send().await.assert_first(201);
        }
        assert_eq!(process.payments(&user).await.len(), 3);
        let refused = lost(&process, "another").send().await;
        refused.assert_problem(401, "unauthorized");
        assert_eq!(lost(&process, "hush").send().await.status, 200);
    }
}

async fn killed_in_mid_handler(setup: Setup) {
    let setup = setup.with("LEASE", "6s");
    let user = somebody();
    let (first, second) = (setup.start(), setup.start());
    let _held = hold(&first, &user, 60_000).await;
    first.kill();

    let retry = second.pay(&user);
    let mut waits = Vec::new();
    let paid = soon("the lease ends", async {
        loop {
            let response = retry.send().await;
            if response.status != 409 {
                return response;
            }
            response.assert_problem(409, "in-flight");
            let after = response.header("retry-after").unwrap();
            waits.push(String::from_utf8_lossy(after).parse::<u64>().unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    paid.assert_first(201);
    retry.send().await.assert_replay_of(&paid);
    assert_eq!(second.payments(&user).await.len(), 1);
    // Soon while there are signs of life, which is for half of the lease; then its very end.
    waits.dedup();
    assert_eq!(waits, [1, 3, 2, 1]);
}

/// Where payment and record are committed in one transaction, a crash at whatever step leaves both
/// or neither.
async fn crashed_around_the_commit(setup: Setup) {
    let setup = setup.with("LEASE", "1s");
    for (crash, is_paid) in [
        ("crash-before-effect", false),
        ("crash-in-transaction", false),
        ("crash-after-effect", true),
    ] {
        let user = somebody();
        let mut process = setup.start();
        let crashing = process.pay(&user).header("x-demo-fail", crash);
        assert!(crashing.open().await.is_hung_up().await, "{crash}");
        let ended = process.child.wait().unwrap();
        assert_eq!(ended.code(), None, "{crash} ends the process by a signal");

        let process = setup.start();
        let before = process.payments(&user).await;
        assert_eq!(before.len(), usize::from(is_paid), "{crash}");
        let told = process.pay(&user).send_until_settled().await;
        if is_paid {
            told.assert_replay(201);
            assert_eq!(told.json()["id"], before[0]["id"]);
        } else {
            told.assert_first(201);
        }
        process.pay(&user).send().await.assert_replay(201);
        assert_eq!(process.payments(&user).await.len(), 1, "{crash}");
    }
}

async fn stopped_past_its_lease(setup: Setup) {
    let in_one_database = !setup.store.starts_with("redis");
    let setup = setup.with("LEASE", "1s");
    let user = somebody();
    let (stopped, other) = (setup.start(), setup.start());
    let held = hold(&stopped, &user, 3_000).await;
    stopped.signal("-STOP");
    let retry = other.pay(&user);
    let winner = retry.send_until_settled().await;
    winner.assert_first(201);
    stopped.signal("-CONT");
    let late = soon("the stopped one answers", held).await.unwrap();
    late.assert_replay_of(&winner);
    retry.send().await.assert_replay_of(&winner);
    let payments = other.payments(&user).await.len();
    if in_one_database {
        assert_eq!(payments, 1);
    } else {
        // The ledger is elsewhere, and the one that comes back pays too. `on_lost = "refuse"` is
        // for those who cannot have that.
        assert_eq!(payments, 2);
    }
}

/// The library that fakes the time. Its own command would stand between the application and whoever
/// kills it.
fn fake_time() -> String {
    let output = Command::new("faketime").args(["-f", "+0", "env"]).output();
    let variables = String::from_utf8(output.unwrap().stdout).unwrap();
    let library = variables
        .lines()
        .find_map(|line| line.strip_prefix("LD_PRELOAD="));
    library.unwrap().to_owned()
}

async fn clocks_ten_minutes_apart(setup: Setup) {
    let setup = setup.with("TTL", "5m").with("LEASE", "30s");
    let user = somebody();
    let here = setup.start();
    let mut command = Command::new(built(setup.application));
    command
        .envs([("FAKETIME", "+10m"), ("DONT_FAKE_MONOTONIC", "1")])
        .env("LD_PRELOAD", fake_time());
    let ahead = setup.start_by(command);
    let paid = here.pay(&user).send().await;
    paid.assert_first(201);
    ahead.pay(&user).send().await.assert_replay_of(&paid);

    let other = somebody();
    let held = hold(&here, &other, 2_000).await;
    let refused = ahead.pay(&other).send().await;
    refused.assert_problem(409, "in-flight");
    assert_eq!(refused.header("retry-after"), Some(&b"1"[..]));
    let paid = soon("the payment is made", held).await.unwrap();
    paid.assert_first(201);
    ahead.pay(&other).send().await.assert_replay_of(&paid);
    for user in [&user, &other] {
        assert_eq!(ahead.payments(user).await.len(), 1);
    }
}

macro_rules! on_each_store {
    ($name:literal; $($test:ident),*) => {
        crate::on_each_database!($name; $($test),*);
        crate::on!(redis, Redis, ignore = "needs a Redis server: REDIS_URL, or tests/run";
            $name; $($test),*);
    };
}

macro_rules! on_each_server {
    ($name:literal; $($test:ident),*) => {
        crate::on!(postgres, Postgres,
            ignore = "needs a PostgreSQL server: POSTGRES_URL, or tests/run"; $name; $($test),*);
        crate::on!(redis, Redis, ignore = "needs a Redis server: REDIS_URL, or tests/run";
            $name; $($test),*);
    };
}

macro_rules! on_each_database {
    ($name:literal; $($test:ident),*) => {
        crate::on!(sqlite, Sqlite, cfg(all()); $name; $($test),*);
        crate::on!(postgres, Postgres,
            ignore = "needs a PostgreSQL server: POSTGRES_URL, or tests/run"; $name; $($test),*);
    };
}

macro_rules! on {
    ($store:ident, $kind:ident, $attribute:meta; $name:literal; $($test:ident),*) => {
        mod $store {
            $(crate::on! { @one $kind, $attribute; $name; $test })*
        }
    };
    (@one $kind:ident, $attribute:meta; $name:literal; $test:ident) => {
        #[tokio::test]
        #[$attribute]
        async fn $test() {
            use crate::{Kind, Setup};
            crate::$test(Setup::new($name, Kind::$kind)).await;
        }
    };
}
use {on, on_each_database, on_each_server, on_each_store};

mod axum_payments {
    crate::on_each_store!("axum-payments"; killed_in_mid_handler, stopped_past_its_lease);
}

mod actix_payments {
    crate::on_each_store!("actix-payments"; killed_in_mid_handler, stopped_past_its_lease);
}

/// Redis has no part in a transaction of the ledger's.
mod commits {
    mod axum_payments {
        crate::on_each_database!("axum-payments"; crashed_around_the_commit);
    }

    mod actix_payments {
        crate::on_each_database!("actix-payments"; crashed_around_the_commit);
    }
}

/// One machine has one clock, and SQLite's file is on it: this is about servers.
mod clocks {
    mod axum_payments {
        crate::on_each_server!("axum-payments"; clocks_ten_minutes_apart);
    }

    mod actix_payments {
        crate::on_each_server!("actix-payments"; clocks_ten_minutes_apart);
    }
}
