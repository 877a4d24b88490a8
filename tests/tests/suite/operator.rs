//! Look up and act: what an operator sees of a key and does to it, on every store.

use std::time::Duration;

use idempotent_runtime::{
    Fingerprint, OperatorError, Outcome, Scope, StoredResponse,
    store::{Forget, Inspection, RecordState},
};
use idempotent_tests::{App, Fault, Plan, Setting, Verb, eventually, every, soon};

const SHORT: Duration = Duration::from_millis(600);

/// With leases that end while a test waits.
async fn start(setting: Setting) -> App {
    let setup = setting.setup();
    setup
        .configure(|builder| builder.lease(SHORT))
        .start()
        .await
}

/// A run that goes on until its gate is open.
async fn run(app: &App, path: &str, key: &str) -> idempotent_tests::Connection {
    let entries = app.world.entries();
    let request = app.post(path).key(key).plan(&Plan::gate("go"));
    let connection = request.open().await;
    app.world.entered(entries + 1).await;
    connection
}

/// A run whose process ends before its effect, and whose lease is over.
async fn lose(app: &mut App, path: &str, key: &str) -> Inspection {
    let _connection = run(app, path, key).await;
    app.restart().await;
    eventually("the run has ended", || app.idempotency.running() == 0).await;
    let operation = format!("POST {path}");
    soon("the claim is lost", async {
        loop {
            let found = app
                .idempotency
                .inspect(&operation, &Scope::global(), key)
                .await;
            match found {
                Ok(found) if matches!(found.state, RecordState::Lost { .. }) => return found,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    })
    .await
}

async fn inspect(app: &App, path: &str, key: &str) -> Result<Inspection, OperatorError> {
    let operation = format!("POST {path}");
    app.idempotency
        .inspect(&operation, &Scope::global(), key)
        .await
}

fn outcome() -> StoredResponse {
    let headers: [(&str, &[u8]); 1] = [("location", b"/payments/7")];
    StoredResponse::new(201, &headers, b"payment 7")
}

every! {
    async fn a_running_a_done_and_a_lost_key_are_seen(setting: Setting) {
        let app = setting.start().await;
        let absent = inspect(&app, "/pay", "k.hushed").await;
        assert!(matches!(absent, Err(OperatorError::NotFound)), "{absent:?}");
        let mut connection = run(&app, "/pay", "k").await;
        let running = inspect(&app, "/pay", "k.hushed").await.unwrap();
        assert!(matches!(running.state, RecordState::Running { .. }), "{running:?}");
        assert!(running.claimed_at.is_some_and(|at| at <= running.now), "{running:?}");
        app.world.open("go");
        let first = connection.response().await;
        let done = inspect(&app, "/pay", "k.hushed").await.unwrap();
        let RecordState::Done { response, expires_at, .. } = &done.state else {
            panic!("a record is done: {done:?}");
        };
        assert_eq!((response.status(), &response.body()[..]), (201, &first.body[..]));
        assert!(*expires_at > done.now);
        assert_eq!(done.id, running.id);
        assert_ne!(done.fingerprint, Fingerprint::NONE);
        // Quoted, it is the same key; of another operation it is another one.
        assert_eq!(inspect(&app, "/pay", "\"k.hushed\"").await.unwrap().id, done.id);
        assert!(inspect(&app, "/bare", "k.hushed").await.is_err());
        let not_one = inspect(&app, "/pay", "\"k.hushed").await;
        assert!(matches!(not_one, Err(OperatorError::KeyInvalid(_))), "{not_one:?}");
        // By its id, which is all that a listing gives.
        assert_eq!(app.idempotency.inspect_id(&done.id).await.unwrap().id, done.id);
        let shown = format!("{done:?}");
        assert!(!shown.contains("effect"), "no body is shown: {shown}");

        let mut app_lost = start(setting).await;
        let lost = lose(&mut app_lost, "/lost/refuse", "l.hushed").await;
        let RecordState::Lost { since, expires_at } = lost.state else { unreachable!() };
        assert_eq!(expires_at.since(since).as_secs(), 3600, "the attribute's ttl: {lost:?}");
        let mut after = None;
        let listed = loop {
            let page = app_lost.idempotency.lost(after, 10).await.unwrap();
            if let Some(claim) = page.claims.into_iter().find(|claim| claim.id == lost.id) {
                break claim;
            }
            after = Some(page.next.expect("the lost claim is listed"));
        };
        assert_eq!(listed.fingerprint, lost.fingerprint);
        let refused = app_lost.post("/lost/refuse").key("l").send().await;
        refused.assert_problem(409, "outcome-unknown");
    }

    async fn a_forgotten_record_is_made_again(setting: Setting) {
        let app = setting.start().await;
        app.post("/pay").key("k").send().await.assert_first(201);
        app.post("/pay").key("k").send().await.assert_replay(201);
        let (global, operation) = (Scope::global(), "POST /pay");
        let kept = app.idempotency.forget(operation, &global, "k.hushed", Forget::Lost).await;
        assert!(matches!(kept, Err(OperatorError::AlreadyDone)), "{kept:?}");
        app.post("/pay").key("k").send().await.assert_replay(201);
        let forget = || app.idempotency.forget(operation, &global, "k.hushed", Forget::EvenDone);
        forget().await.unwrap();
        app.post("/pay").key("k").send().await.assert_first(201);
        assert_eq!(app.world.effects(), 2);
        forget().await.unwrap();
        let again = forget().await;
        assert!(matches!(again, Err(OperatorError::NotFound)), "{again:?}");
        assert_eq!(app.events.count(Outcome::Forgotten), 2);
    }

    async fn a_claim_that_runs_is_forgotten_only_when_told_so(setting: Setting) {
        let app = setting.start().await;
        let mut first = run(&app, "/pay", "k").await;
        let (global, operation) = (Scope::global(), "POST /pay");
        let refused = app.idempotency.forget(operation, &global, "k.hushed", Forget::EvenDone).await;
        assert!(matches!(refused, Err(OperatorError::StillRunning)), "{refused:?}");
        app.post("/pay").key("k").send().await.assert_problem(409, "in-flight");
        let done = app.idempotency.complete_with(operation, &global, "k.hushed", &outcome()).await;
        assert!(matches!(done, Err(OperatorError::StillRunning)), "{done:?}");
        let told = app.idempotency.forget(operation, &global, "k.hushed", Forget::EvenRunning).await;
        told.unwrap();
        // The price of it: a second run beside the first, of which one has the record.
        let mut second = run(&app, "/pay", "k").await;
        app.world.open("go");
        let (first, second) = (first.response().await, second.response().await);
        assert_eq!(app.world.effects(), 2);
        assert_eq!(app.events.count(Outcome::Fenced), 1);
        let retry = app.post("/pay").key("k").send().await;
        retry.assert_replay(201);
        let answers = [first, second];
        assert!(answers.iter().any(|answer| answer.body == retry.body));
    }

    async fn a_lost_run_is_completed_by_hand(setting: Setting) {
        let mut app = start(setting).await;
        let lost = lose(&mut app, "/lost/refuse", "k.hushed").await;
        let request = app.post("/lost/refuse").key("k");
        request.send().await.assert_problem(409, "outcome-unknown");
        let (global, operation) = (Scope::global(), "POST /lost/refuse");
        let complete = || async {
            app.idempotency.complete_with(operation, &global, "k.hushed", &outcome()).await
        };
        complete().await.unwrap();
        for _ in 0..2 {
            let replay = request.send().await;
            replay.assert_replay(201);
            assert_eq!(replay.body, b"payment 7");
            assert_eq!(replay.header("location"), Some(&b"/payments/7"[..]));
        }
        // What was asked for under the key is what it was.
        let other = app.post("/lost/refuse").key("k").body("other").send().await;
        other.assert_problem(422, "key-reused");
        let done = inspect(&app, "/lost/refuse", "k.hushed").await.unwrap();
        assert_eq!(done.fingerprint, lost.fingerprint);
        let again = complete().await;
        assert!(matches!(again, Err(OperatorError::AlreadyDone)), "{again:?}");
        let nothing = app.idempotency.complete_with(operation, &global, "x", &outcome()).await;
        assert!(matches!(nothing, Err(OperatorError::NotFound)), "{nothing:?}");
        assert_eq!(app.world.effects(), 0);
        assert_eq!(app.events.count(Outcome::CompletedByHand), 1);
    }

    async fn a_lost_run_that_had_no_effect_is_forgotten_and_runs(setting: Setting) {
        let mut app = start(setting).await;
        let lost = lose(&mut app, "/lost/refuse", "k.hushed").await;
        app.idempotency.forget_id(&lost.id, Forget::Lost).await.unwrap();
        app.post("/lost/refuse").key("k").send().await.assert_first(201);
        assert_eq!(app.world.effects(), 1);
    }

    async fn a_completion_that_fails_leaves_the_run_lost(setting: Setting) {
        for (verb, fault) in [
            (Verb::Claim, Fault::Before),
            (Verb::Complete, Fault::Before),
        ] {
            let mut app = start(setting).await;
            let lost = lose(&mut app, "/lost/refuse", "k.hushed").await;
            app.store.fail(verb, 1, fault);
            let failed = app.idempotency.complete_id_with(&lost.id, &outcome()).await;
            assert!(matches!(failed, Err(OperatorError::Store(_))), "{failed:?}");
            // At once, or when the lease of the attempt has ended.
            soon("it is completed", async {
                while let Err(error) = app.idempotency.complete_id_with(&lost.id, &outcome()).await {
                    assert!(matches!(error, OperatorError::StillRunning), "{error:?}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            })
            .await;
            app.post("/lost/refuse").key("k").send().await.assert_replay(201);
            assert_eq!(app.world.effects(), 0);
        }
    }
}
