//! Everything that can become of a request, and what metrics should come of it.

use std::collections::BTreeMap;

use idempotent_runtime::{MemoryStore, Outcome, Reconciled, Scope, StoredResponse, store::Forget};
use idempotent_tests::{
    App, Fault, Framework, Panics, Plan, Steered, Verb, eventually, metrics::Series, soon,
};

/// What the script has provoked so far, and the applications it was asked of.
#[derive(Default)]
pub(crate) struct Tally {
    outcomes: BTreeMap<(String, &'static str), u32>,
    /// Of handlers under a claim, by operation.
    handlers: BTreeMap<String, u32>,
    /// Bytes of bodies that were recorded, by operation, and how many.
    pub(crate) bodies: BTreeMap<String, (usize, u32)>,
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

    pub(crate) fn outcomes(&self) -> BTreeMap<String, u64> {
        let named = self.outcomes.iter().map(|((operation, outcome), count)| {
            let labels = format!(r#"operation="{operation}",outcome="{outcome}""#);
            let name = format!("idempotency_requests_total{{{labels}}}");
            (name, u64::from(*count))
        });
        named.collect()
    }

    pub(crate) fn handlers(&self) -> BTreeMap<String, u64> {
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
pub(crate) async fn on_one(app: &App, tally: &mut Tally) {
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
pub(crate) async fn while_it_runs(app: &App, tally: &mut Tally) {
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
pub(crate) async fn store_fails(app: &App, tally: &mut Tally) {
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
pub(crate) async fn claims_are_lost(app: &App, tally: &mut Tally) {
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

/// What an operator does, whose acts have no operation's label: what is named may be a path.
pub(crate) async fn an_operator_acts(app: &App, tally: &mut Tally) {
    let (operation, global) = ("POST /lost/refuse", Scope::global());
    let found_out = StoredResponse::new(201, &[], b"found out");
    let completed = app
        .idempotency
        .complete_with(operation, &global, "k.hushed", &found_out);
    completed.await.unwrap();
    tally.came("", Outcome::CompletedByHand);
    app.post("/lost/refuse")
        .key("k")
        .send()
        .await
        .assert_replay(201);
    tally.came(operation, Outcome::Replayed);
    let forgotten = app
        .idempotency
        .forget(operation, &global, "k.hushed", Forget::EvenDone);
    forgotten.await.unwrap();
    tally.came("", Outcome::Forgotten);

    app.idempotency.disable();
    app.post("/pay").key("k").send().await.assert_first(201);
    tally.came("POST /pay", Outcome::UnprotectedDisabled);
    app.idempotency.enable();
}

/// What needs an application that is set up otherwise.
pub(crate) async fn otherwise(framework: Framework, tally: &mut Tally) -> Vec<App> {
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
