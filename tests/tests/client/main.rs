//! `idempotent-client` against the example applications, with a proxy between them that goes wrong
//! in every way that a network does. Each operation is paid once, and everybody is told so.
//!
//! `FAULT_SEED` repeats a run as far as its faults go; which operation they meet is a matter of
//! time.

#![allow(clippy::unwrap_used)]

mod operations;
mod proxy;

use std::{
    collections::BTreeSet,
    process::{Child, Command},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use idempotent_tests::{
    Request,
    example::{self, built},
};
use tempfile::TempDir;

use crate::{
    operations::{CALLERS, Clients, Payment, Tally},
    proxy::{FaultProxy, Weather},
};

/// How many operations an application is asked for, and how many clients ask at the same time.
const OPERATIONS: usize = 1000;
const CLIENTS: usize = 48;

/// A disk that others use too is slow, and clients that do not wait for it make it slower.
const OPERATIONS_ON_A_DISK: usize = 200;
const CLIENTS_ON_A_DISK: usize = 16;

/// An application that runs, and what it needs.
struct Application {
    name: String,
    process: Child,
    address: std::net::SocketAddr,
    _folder: TempDir,
}

impl Application {
    fn start(application: &str, store: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("payments.db");
        let mut command = Command::new(built(application));
        command.env("STORE", store.replace("FILE", file.to_str().unwrap()));
        let (process, address) = example::start(command);
        let store = store.split(':').next().unwrap();
        Self {
            name: format!("{application} on {store}"),
            process,
            address,
            _folder: folder,
        }
    }

    /// What was really paid, by whom.
    async fn ledger(&self) -> Vec<Payment> {
        let mut ledger = Vec::new();
        for caller in CALLERS {
            let list = Request::new(self.address, "GET", "/payments");
            let list = list.header("authorization", format!("Bearer {caller}"));
            let list = list.send().await;
            assert_eq!(list.status, 200, "{list:?}");
            let entries = list.json();
            let entries = entries.as_array().unwrap();
            ledger.extend(entries.iter().map(|entry| Payment::of(caller, entry)));
        }
        ledger
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What came of a run.
struct Report {
    told: Vec<Payment>,
    ledger: Vec<Payment>,
}

async fn run(
    application: &str,
    store: &str,
    operations: usize,
    clients: Clients,
    weather: Weather,
) -> Report {
    let seed = seed();
    let at_once = match store {
        "memory" => CLIENTS,
        _ => CLIENTS_ON_A_DISK,
    };
    let application = Application::start(application, store);
    println!("{}: FAULT_SEED={seed}", application.name);
    let proxy = FaultProxy::before(application.address, weather, seed).await;
    let started = Instant::now();
    let tally = clients
        .pay(proxy.address(), operations, at_once, seed)
        .await;
    proxy.is_quiet().await;
    let took = started.elapsed();
    let ledger = application.ledger().await;
    let Tally {
        told,
        runs,
        attempts,
        replays,
        uncertain,
        dropped,
    } = tally;
    println!(
        "{}: {operations} operations by {at_once} clients in {took:.1?}: {runs} runs ({uncertain} \
         ended uncertain, {dropped} dropped), {attempts} attempts, {replays} replays; payments \
         made {}, wanted {operations}\n  {:?}",
        application.name,
        ledger.len(),
        proxy.faults(),
    );
    Report { told, ledger }
}

fn seed() -> u64 {
    if let Ok(seed) = std::env::var("FAULT_SEED") {
        return seed.parse().expect("FAULT_SEED is a number");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::from(now.subsec_nanos()) << 20 | u64::from(std::process::id())
}

/// Each is paid once, with the id that its client was told; nothing else is paid.
async fn each_is_paid_once(application: &str, store: &str, operations: usize) {
    let Report { told, ledger } =
        run(application, store, operations, Clients::Real, proxy::BAD).await;
    assert_eq!(told.len(), operations);
    let names: BTreeSet<_> = told.iter().map(|payment| &payment.operation).collect();
    assert_eq!(names.len(), operations, "each operation is another");
    assert_eq!(beyond(&told, &ledger), [], "told to be paid, and are not");
    assert_eq!(beyond(&ledger, &told), [], "paid, and nobody was told so");
    assert_eq!(ledger.len(), operations);
}

/// Those that are among the first and not among the others.
fn beyond(these: &[Payment], others: &[Payment]) -> Vec<Payment> {
    let others: BTreeSet<_> = others.iter().collect();
    let beyond = these.iter().filter(|payment| !others.contains(payment));
    beyond.cloned().collect()
}

mod axum_payments {
    #[tokio::test(flavor = "multi_thread")]
    async fn memory() {
        crate::each_is_paid_once("axum-payments", "memory", crate::OPERATIONS).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn sqlite() {
        crate::each_is_paid_once("axum-payments", "sqlite:FILE", crate::OPERATIONS_ON_A_DISK).await;
    }
}

mod actix_payments {
    #[tokio::test(flavor = "multi_thread")]
    async fn memory() {
        crate::each_is_paid_once("actix-payments", "memory", crate::OPERATIONS).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn sqlite() {
        crate::each_is_paid_once("actix-payments", "sqlite:FILE", crate::OPERATIONS_ON_A_DISK)
            .await;
    }
}

/// These runs can fail: with another key in each attempt, or with keys that are given up by a
/// refusal, some are paid twice.
mod clients_that_are_wrong {
    use crate::{
        Clients,
        proxy::{self, Weather},
    };

    async fn pay_twice(clients: Clients, weather: Weather) {
        let report = crate::run("axum-payments", "memory", 200, clients, weather).await;
        assert_eq!(report.told.len(), 200);
        assert!(report.ledger.len() > 200, "some are paid twice");
        for payment in &report.told {
            assert!(report.ledger.contains(payment), "none is lost");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn another_key_in_each_attempt() {
        pay_twice(Clients::NewKeyInEachAttempt, proxy::BAD).await;
    }

    /// The same weather does the real one no harm.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_real_one_beside_them() {
        let weather = proxy::LOST_AND_REFUSED;
        let report = crate::run("axum-payments", "memory", 200, Clients::Real, weather).await;
        assert_eq!(report.ledger.len(), 200);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_new_key_after_a_refusal() {
        pay_twice(Clients::NewKeyAfterARefusal, proxy::LOST_AND_REFUSED).await;
    }
}
