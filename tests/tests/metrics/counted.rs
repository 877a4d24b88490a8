//! The metrics of a script equal what has happened.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use idempotent_runtime::{MemoryStore, Outcome, Reconciled, StoredResponse};
use idempotent_tests::{
    App, Fault, Framework, Kind, Panics, Plan, Setting, Setup, Steered, Transact, Verb, both,
    eventually, metrics::Series, soon,
};

use crate::turn;

/// What the script has provoked so far, and the applications it was asked of.
#[derive(Default)]
struct Tally {
    outcomes: BTreeMap<(String, &'static str), u32>,
    /// Of handlers under a claim, by operation.
    handlers: BTreeMap<String, u32>,
    /// Bytes of bodies that were recorded, by operation, and how many.
    bodies: BTreeMap<String, (usize, u32)>,
}

impl Tally {
    fn came(&mut self, operation: &str, outcome: Outcome) {
        let one = (operation.to_owned(), outcome.name());
        *self.outcomes.entry(one).or_default() += 1;
    }

    fn ran(&mut self, operation: &str) {
        *self.handlers.entry(operation.to_owned()).or_default() += 1;
    }

    fn recorded(&mut self, operation: &str, bytes: usize) {
        let (sum, count) = self.bodies.entry(operation.to_owned()).or_default();
        *sum += bytes;
        *count += 1;
    }

    /// A handler ran to its end, and its response was recorded.
    fn executed(&mut self, operation: &str, bytes: usize) {
        self.came(operation, Outcome::Executed);
        self.ran(operation);
        self.recorded(operation, bytes);
    }

    fn outcomes(&self) -> BTreeMap<String, u64> {
        let named = self.outcomes.iter().map(|((operation, outcome), count)| {
            let labels = format!(r#"operation="{operation}",outcome="{outcome}""#);
            let name = format!("idempotency_requests_total{{{labels}}}");
            (name, u64::from(*count))
        });
        named.collect()
    }

    fn handlers(&self) -> BTreeMap<String, u64> {
        let name = |operation: &str| {
            format!(r#"idempotency_handler_duration_seconds_count{{operation="{operation}"}}"#)
        };
        let named = self.handlers.iter();
        named
            .map(|(operation, count)| (name(operation), u64::from(*count)))
            .collect()
    }
}

/// Everything that can become of a request on one application.
async fn on_one(app: &App, tally: &mut Tally) {
    let pay = "POST /pay";
    let request = app.post("/pay").key("k").body("one");
    let first = request.send().await;
    first.assert_first(201);
    tally.executed(pay, first.body.len());
    for _ in 0..3 {
        request.send().await.assert_replay(201);
        tally.came(pay, Outcome::Replayed);
    }
    let other = request.body("two").send().await;
    other.assert_problem(422, "key-reused");
    tally.came(pay, Outcome::KeyReused);
    app.post("/pay")
        .send()
        .await
        .assert_problem(400, "key-missing");
    tally.came(pay, Outcome::KeyMissing);
    let invalid = app.post("/pay").key("\"k").send().await;
    invalid.assert_problem(400, "key-invalid");
    tally.came(pay, Outcome::KeyInvalid);
    app.request("GET", "/pay").key("k").send().await;

    let of_user = app.post("/scope/user").key("k").send().await;
    of_user.assert_problem(401, "caller-unknown");
    tally.came("POST /scope/user", Outcome::CallerUnknown);
    let unregistered = app.post("/scope/unregistered").key("k").send().await;
    unregistered.assert_problem(500, "misconfigured");
    tally.came("POST /scope/unregistered", Outcome::Misconfigured);

    app.post("/key/optional").send().await.assert_first(201);
    tally.came("POST /key/optional", Outcome::Unprotected);

    let released = app.post("/pay").key("later").plan(&Plan::status(503));
    released.send().await.assert_first(503);
    tally.came(pay, Outcome::Released);
    tally.ran(pay);

    let large = app.post("/small").key("k").plan(&Plan::body([b'x'; 2000]));
    large.send().await.assert_first(201);
    tally.came("POST /small", Outcome::Tombstoned);
    tally.ran("POST /small");
    large.send().await.assert_problem(409, "response-not-kept");
    tally.came("POST /small", Outcome::ResponseNotKept);

    let panics = app.post("/pay").key("p").plan(&Plan::panics(Panics::After));
    assert!(panics.open().await.is_hung_up().await);
    tally.came(pay, Outcome::Panicked);
    tally.ran(pay);
    tally.recorded(pay, 0);

    // No more labels than routes, whatever is sent.
    for path in ["/nowhere/1", "/nowhere/2"] {
        for (method, told) in [("POST", "POST (no route)"), ("PURGE", "_OTHER (no route)")] {
            let first = app.request(method, path).key("k").send().await;
            first.assert_first(201);
            tally.executed(told, first.body.len());
        }
    }
    // Operations may have names.
    let first = app.post("/alike/a").key("k").send().await;
    tally.executed("shared, whatever", first.body.len());
}

/// What becomes of requests while another one runs.
async fn while_it_runs(app: &App, tally: &mut Tally) {
    let pay = "POST /pay";
    let request = app.post("/pay").key("running");
    let entries = app.world.entries();
    let mut running = request.clone().plan(&Plan::gate("g")).open().await;
    app.world.entered(entries + 1).await;
    request.send().await.assert_problem(409, "in-flight");
    tally.came(pay, Outcome::InFlight);

    let long = app.post("/wait/long").key("k");
    let mut waited_for = long.clone().plan(&Plan::gate("g")).open().await;
    app.world.entered(entries + 2).await;
    let mut waiting = long.open().await;
    eventually("it waits", || app.idempotency.waiting() == 1).await;

    let gone = app.post("/pay").key("gone").plan(&Plan::gate("g"));
    let gone = gone.open().await;
    app.world.entered(entries + 3).await;
    gone.reset();
    eventually("it goes on", || app.idempotency.detached() == 1).await;

    app.idempotency.record_gauges();
    let now = Series::now();
    assert_eq!(now.value("idempotency_running_handlers"), 3);
    assert_eq!(now.value("idempotency_waiting_requests"), 1);
    assert_eq!(now.value("idempotency_detached_handlers"), 1);
    let memory = app.store.memory();
    let entries = memory.entries() as u64;
    assert!(entries > 3, "records and claims");
    assert_eq!(now.value("idempotency_memory_store_entries"), entries);
    assert_eq!(now.value("idempotency_memory_store_bytes"), memory.bytes());

    app.world.open("g");
    let first = running.response().await;
    tally.executed(pay, first.body.len());
    let first = waited_for.response().await;
    tally.executed("POST /wait/long", first.body.len());
    waiting.response().await.assert_replay_of(&first);
    tally.came("POST /wait/long", Outcome::WaitedThenReplayed);
    soon("the one without a client ends", app.idempotency.drain()).await;
    tally.executed(pay, first.body.len());
}

/// What becomes of requests when the store fails.
async fn store_fails(app: &App, tally: &mut Tally) {
    for (path, outcome) in [
        ("/pay", Outcome::StoreUnavailable),
        ("/down/run", Outcome::UnprotectedStoreDown),
    ] {
        app.store.fail(Verb::Claim, 1, Fault::Before);
        app.post(path).key("down").send().await;
        tally.came(&format!("POST {path}"), outcome);
        soon("the key is freed", app.idempotency.drain()).await;
    }
    app.store.fail(Verb::Complete, 1, Fault::Before);
    let first = app.post("/pay").key("delayed").send().await;
    first.assert_first(201);
    tally.came("POST /pay", Outcome::CompletionDelayed);
    soon("it is recorded", app.idempotency.drain()).await;
    tally.executed("POST /pay", first.body.len());
}

/// What becomes of runs whose claim was lost.
async fn claims_are_lost(app: &App, tally: &mut Tally) {
    let rerun = "POST /lost/rerun";
    let request = app.post("/lost/rerun").key("k");
    let entries = app.world.entries();
    let mut overtaken = request.clone().plan(&Plan::gate("l")).open().await;
    app.world.entered(entries + 1).await;
    app.store
        .lose(&app.store.calls(Verb::Claim).last().unwrap().1);
    let winner = request.send().await;
    winner.assert_first(201);
    tally.executed(rerun, winner.body.len());
    app.world.open("l");
    overtaken.response().await.assert_replay_of(&winner);
    tally.came(rerun, Outcome::Fenced);
    tally.ran(rerun);

    let refuse = app.post("/lost/refuse").key("k");
    let running = refuse.clone().plan(&Plan::gate("never")).open().await;
    app.world.entered(entries + 3).await;
    app.store
        .lose(&app.store.calls(Verb::Claim).last().unwrap().1);
    refuse.send().await.assert_problem(409, "outcome-unknown");
    tally.came("POST /lost/refuse", Outcome::OutcomeUnknown);
    drop(running);
}

/// What needs an application that is set up otherwise.
async fn otherwise(framework: Framework, tally: &mut Tally) -> Vec<App> {
    let full = framework
        .setup()
        .store(|clock| Steered::new(MemoryStore::builder().clock(clock).max_entries(1).build()));
    let full = full.start().await;
    let first = full.post("/pay").key("one").send().await;
    tally.executed("POST /pay", first.body.len());
    let refused = full.post("/pay").key("two").send().await;
    refused.assert_problem(503, "store-full");
    tally.came("POST /pay", Outcome::StoreFull);

    let strict = framework.setup().body_limit(100).start().await;
    let refused = strict.post("/pay").key("k").body([b'x'; 101]).send().await;
    refused.assert_problem(413, "body-too-large");
    tally.came("POST /pay", Outcome::BodyTooLarge);

    let mut asking = framework
        .setup()
        .configure(|builder| {
            builder.reconcile(|_| async {
                Reconciled::Done(StoredResponse::new(201, &[], b"found out"))
            })
        })
        .start()
        .await;
    let refuse = asking.post("/lost/refuse").key("k");
    let running = refuse.clone().plan(&Plan::gate("never")).open().await;
    asking.world.entered(1).await;
    asking.restart().await;
    eventually("the run has ended", || asking.store.abandoned() == 1).await;
    drop(running);
    tally.came("POST /lost/refuse", Outcome::Abandoned);
    asking
        .post("/lost/refuse")
        .key("k")
        .send()
        .await
        .assert_replay(201);
    tally.came("POST /lost/refuse", Outcome::Reconciled);
    tally.recorded("POST /lost/refuse", b"found out".len());
    vec![full, strict, asking]
}

/// What the stores were asked, and how often they answered that they could not.
fn store_series(apps: &[&App]) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
    let verbs = [
        ("claim", Verb::Claim),
        ("complete", Verb::Complete),
        ("release", Verb::Release),
        ("renew", Verb::Renew),
    ];
    let asked = verbs.map(|(name, verb)| {
        let answered: usize = apps.iter().map(|app| app.store.answered(verb)).sum();
        let series = format!(r#"idempotency_store_duration_seconds_count{{verb="{name}"}}"#);
        (series, answered as u64)
    });
    let errors = [
        (r#"verb="claim",error="unavailable""#, 2),
        (r#"verb="claim",error="full""#, 1),
        (r#"verb="complete",error="unavailable""#, 1),
    ]
    .map(|(labels, count)| (format!("idempotency_store_errors_total{{{labels}}}"), count));
    (
        asked.into_iter().filter(|(_, count)| *count != 0).collect(),
        errors.into_iter().collect(),
    )
}

/// What of an event the metrics are made of.
type Told = (
    String,
    Outcome,
    Option<Duration>,
    Option<Duration>,
    Option<u64>,
);

both! {
    async fn the_metrics_of_a_script_equal_what_happened(framework: Framework) {
        let _turn = turn().await;
        let before = Series::now();
        let app = framework.start().await;
        let mut tally = Tally::default();
        on_one(&app, &mut tally).await;
        while_it_runs(&app, &mut tally).await;
        store_fails(&app, &mut tally).await;
        claims_are_lost(&app, &mut tally).await;
        let others = otherwise(framework, &mut tally).await;
        let now = Series::now();

        assert_eq!(now.since(&before, "idempotency_requests_total"), tally.outcomes());
        let handlers = "idempotency_handler_duration_seconds_count";
        assert_eq!(now.since(&before, handlers), tally.handlers());
        for (operation, (bytes, count)) in &tally.bodies {
            let of = |part: &str| {
                let name =
                    format!(r#"idempotency_response_size_bytes_{part}{{operation="{operation}"}}"#);
                now.value(&name) - before.value(&name)
            };
            assert_eq!(of("sum"), *bytes as u64, "bytes of {operation}");
            assert_eq!(of("count"), u64::from(*count), "bodies of {operation}");
        }
        let waits = "idempotency_wait_duration_seconds_count";
        let waited = now.since(&before, waits);
        let expected = format!(r#"{waits}{{operation="POST /wait/long"}}"#);
        assert_eq!(waited, BTreeMap::from([(expected, 1)]));
        let apps: Vec<&App> = std::iter::once(&app).chain(&others).collect();
        let (asked, errors) = store_series(&apps);
        let name = "idempotency_store_duration_seconds_count";
        assert_eq!(now.since(&before, name), asked);
        assert_eq!(now.since(&before, "idempotency_store_errors_total"), errors);
    }

    async fn the_hook_is_told_what_the_metrics_are_made_of(framework: Framework) {
        let _turn = turn().await;
        let told: Arc<Mutex<Vec<Told>>> = Arc::default();
        let heard = Arc::clone(&told);
        let setup: Setup = framework.setup().configure(move |builder| {
            let heard = Arc::clone(&heard);
            builder.on_event(move |event| {
                heard.lock().unwrap().push((
                    event.label.to_owned(),
                    event.outcome,
                    event.handler_time,
                    event.wait_time,
                    event.response_bytes,
                ));
            })
        });
        let app = setup.start().await;
        let began = Instant::now();
        let request = app.post("/wait/long").key("k");
        let mut running = request.clone().plan(&Plan::gate("g")).open().await;
        app.world.entered(1).await;
        let mut waiting = request.open().await;
        eventually("it waits", || app.idempotency.waiting() == 1).await;
        app.world.open("g");
        let first = running.response().await;
        waiting.response().await.assert_replay_of(&first);
        let nowhere = app.request("PURGE", "/nowhere/1").key("k").send().await;
        nowhere.assert_first(201);
        let told = told.lock().unwrap().clone();
        let took = |time: Option<Duration>| {
            let time = time.unwrap();
            !time.is_zero() && time < began.elapsed()
        };
        let size = Some(first.body.len() as u64);
        let find = |wanted| {
            let of = |one: &&Told| one.1 == wanted && one.0 == "POST /wait/long";
            told.iter().find(of).unwrap()
        };
        let executed = find(Outcome::Executed);
        assert!(took(executed.2), "{told:?}");
        assert_eq!((executed.3, executed.4), (None, size), "{told:?}");
        let waited = find(Outcome::WaitedThenReplayed);
        assert!(took(waited.3), "{told:?}");
        assert_eq!((waited.2, waited.4), (None, size), "{told:?}");
        assert_eq!(told.last().unwrap().0, "_OTHER (no route)");
    }

    async fn a_near_cache_counts_what_it_answers(framework: Framework) {
        let _turn = turn().await;
        let before = Series::now();
        let setting = Setting { framework, store: Kind::NearCache };
        let app = setting.start().await;
        app.post("/pay").key("k").send().await.assert_first(201);
        for _ in 0..3 {
            app.post("/pay").key("k").send().await.assert_replay(201);
        }
        app.idempotency.record_gauges();
        let now = Series::now();
        let lookups = |result: &str| {
            let name = format!(r#"idempotency_near_cache_lookups_total{{result="{result}"}}"#);
            now.value(&name) - before.value(&name)
        };
        assert_eq!((lookups("miss"), lookups("hit")), (1, 3));
        assert!(now.value("idempotency_near_cache_bytes") > 0);
    }

    async fn a_renewal_that_is_not_answered_is_counted(framework: Framework) {
        let _turn = turn().await;
        let before = Series::now();
        let setup = framework.setup();
        let store = |clock| Steered::with_lease(MemoryStore::builder().clock(clock).build());
        let app = setup.store(store).start().await;
        let request = app.post("/lease/second").key("k").plan(&Plan::gate("g"));
        let mut running = request.open().await;
        app.world.entered(1).await;
        app.store.hang(Verb::Renew, Fault::Before);
        let name = r#"idempotency_store_errors_total{verb="renew",error="timeout"}"#;
        let added = || Series::now().value(name) - before.value(name);
        eventually("a renewal was given up", || added() >= 1).await;
        app.store.heal(Verb::Renew);
        app.world.open("g");
        running.response().await.assert_first(201);
    }

    async fn a_record_in_a_transaction_is_measured(framework: Framework) {
        let _turn = turn().await;
        let before = Series::now();
        let setting = Setting { framework, store: Kind::Sqlite };
        let app = setting.start().await;
        let plan = Plan { transact: Some(Transact::Commit), ..Plan::default() };
        let first = app.post("/pay").key("k").plan(&plan).send().await;
        first.assert_first(201);
        let now = Series::now();
        let added = |name: &str| now.value(name) - before.value(name);
        let asked = r#"idempotency_store_duration_seconds_count{verb="complete_in"}"#;
        assert_eq!(added(asked), 1);
        let size = r#"idempotency_response_size_bytes_sum{operation="POST /pay"}"#;
        assert_eq!(added(size), first.body.len() as u64);
        let executed = r#"idempotency_requests_total{operation="POST /pay",outcome="executed"}"#;
        assert_eq!(added(executed), 1);
    }
}
