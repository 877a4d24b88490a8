//! The metrics of a script equal what has happened.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use idempotent_runtime::{MemoryStore, Outcome};
use idempotent_tests::{
    App, Fault, Kind, Plan, Setting, Setup, Steered, Transact, Verb, both, eventually,
    metrics::Series,
};

use crate::{
    script::{
        Tally, an_operator_acts, claims_are_lost, on_one, otherwise, store_fails, while_it_runs,
    },
    turn,
};

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
        an_operator_acts(&app, &mut tally).await;
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
