//! `Idempotency::builder(…).reconcile(…)`: what became of a lost run is asked before `on_lost`
//! decides.

use std::sync::{Arc, Mutex};

use idempotent_runtime::{LostRun, Outcome, Reconciled, StoredResponse};
use idempotent_tests::{App, Fault, Framework, Plan, Verb, both, eventually, soon};
use tokio::sync::watch;

/// The application's side: what it was asked, and what it answers.
#[derive(Clone)]
struct Application {
    asked: Arc<Mutex<Vec<LostRun>>>,
    answer: Arc<Mutex<Option<Reconciled>>>,
    gate: watch::Sender<bool>,
}

impl Application {
    fn answering(answer: Reconciled) -> Self {
        Self {
            asked: Arc::default(),
            answer: Arc::new(Mutex::new(Some(answer))),
            gate: watch::Sender::new(true),
        }
    }

    fn answers(&self, answer: Option<Reconciled>) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    async fn tell(self, lost: LostRun) -> Reconciled {
        self.asked.lock().unwrap().push(lost);
        let mut gate = self.gate.subscribe();
        let _ = gate.wait_for(|open| *open).await;
        let answer = self.answer.lock().unwrap().clone();
        answer.expect("the application cannot tell")
    }

    async fn start(&self, framework: Framework) -> App {
        let application = self.clone();
        framework
            .setup()
            .configure(move |builder| {
                let application = application.clone();
                builder.reconcile(move |lost| application.clone().tell(lost))
            })
            .start()
            .await
    }
}

fn done() -> Reconciled {
    let headers: [(&str, &[u8]); 1] = [("location", b"/payments/7")];
    Reconciled::Done(StoredResponse::new(201, &headers, b"payment 7"))
}

/// A run that ends with its process, at the gate in front of its effect.
async fn lose(app: &mut App, path: &str) {
    let (entries, lost) = (app.world.entries(), app.store.abandoned());
    let request = app.post(path).key("k").plan(&Plan::gate("never"));
    let _connection = request.open().await;
    app.world.entered(entries + 1).await;
    app.restart().await;
    eventually("the run has ended", || app.store.abandoned() > lost).await;
}

both! {
    async fn what_was_done_is_recorded_and_not_done_again(framework: Framework) {
        for path in ["/lost/rerun", "/lost/refuse"] {
            let application = Application::answering(done());
            let mut app = application.start(framework).await;
            lose(&mut app, path).await;
            for _ in 0..3 {
                let retry = app.post(path).key("k").send().await;
                retry.assert_replay(201);
                assert_eq!(retry.header("location"), Some(&b"/payments/7"[..]));
                assert_eq!(retry.body, b"payment 7"[..]);
            }
            assert_eq!(application.asked(), 1);
            assert_eq!(app.world.effects(), 0);
            assert_eq!(app.events.count(Outcome::Reconciled), 1);
            assert_eq!(app.events.count(Outcome::Replayed), 2);
        }
    }

    async fn a_status_that_is_none_is_not_taken_for_a_success(framework: Framework) {
        let nonsense = Reconciled::Done(StoredResponse::new(42, &[], b""));
        let application = Application::answering(nonsense);
        let mut app = application.start(framework).await;
        lose(&mut app, "/lost/refuse").await;
        app.post("/lost/refuse").key("k").send().await.assert_replay(500);
        assert_eq!(app.world.effects(), 0);
    }

    async fn what_was_not_done_is_done_once(framework: Framework) {
        for path in ["/lost/rerun", "/lost/refuse"] {
            let application = Application::answering(Reconciled::NotDone);
            let mut app = application.start(framework).await;
            lose(&mut app, path).await;
            app.post(path).key("k").send().await.assert_first(201);
            app.post(path).key("k").send().await.assert_replay(201);
            assert_eq!(application.asked(), 1);
            assert_eq!(app.world.effects(), 1);
        }
    }

    async fn what_nobody_knows_is_decided_by_on_lost(framework: Framework) {
        let application = Application::answering(Reconciled::Unknown);
        let mut app = application.start(framework).await;
        lose(&mut app, "/lost/rerun").await;
        app.post("/lost/rerun").key("k").send().await.assert_first(201);
        assert_eq!(application.asked(), 1);

        lose(&mut app, "/lost/refuse").await;
        for _ in 0..2 {
            let retry = app.post("/lost/refuse").key("k").send().await;
            retry.assert_problem(409, "outcome-unknown");
        }
        // No handler has run that could be abandoned, but for the two whose process has ended.
        assert_eq!(app.events.count(Outcome::Abandoned), 2);
        assert_eq!(app.events.count(Outcome::OutcomeUnknown), 2);
        // It may be known by now.
        assert_eq!(application.asked(), 3);
        application.answers(Some(done()));
        app.post("/lost/refuse").key("k").send().await.assert_replay(201);
        assert_eq!(app.world.effects(), 1);
    }

    async fn one_request_asks_and_the_others_are_told_that_it_runs(framework: Framework) {
        let application = Application::answering(done());
        let mut app = application.start(framework).await;
        lose(&mut app, "/lost/refuse").await;
        application.gate.send_replace(false);
        let request = app.post("/lost/refuse").key("k");
        let asking = tokio::spawn({
            let request = request.clone();
            async move { request.send().await }
        });
        eventually("the application is asked", || application.asked() == 1).await;
        for _ in 0..3 {
            request.clone().send().await.assert_problem(409, "in-flight");
        }
        application.gate.send_replace(true);
        soon("the answer", asking).await.unwrap().assert_replay(201);
        assert_eq!(application.asked(), 1);
    }

    async fn the_asking_goes_on_when_its_client_went_away(framework: Framework) {
        let application = Application::answering(done());
        let mut app = application.start(framework).await;
        lose(&mut app, "/lost/refuse").await;
        application.gate.send_replace(false);
        let request = app.post("/lost/refuse").key("k");
        let connection = request.open().await;
        eventually("the application is asked", || application.asked() == 1).await;
        connection.reset();
        request.clone().send().await.assert_problem(409, "in-flight");
        application.gate.send_replace(true);
        soon("what was asked is recorded", app.idempotency.drain()).await;
        request.send().await.assert_replay(201);
        assert_eq!(application.asked(), 1);
    }

    async fn another_request_with_the_key_is_refused_without_asking(framework: Framework) {
        let application = Application::answering(done());
        let mut app = application.start(framework).await;
        lose(&mut app, "/lost/refuse").await;
        let other = app.post("/lost/refuse").key("k").body("other").send().await;
        other.assert_problem(422, "key-reused");
        assert_eq!(application.asked(), 0);
    }

    async fn a_hook_that_panics_leaves_the_run_lost(framework: Framework) {
        let application = Application::answering(done());
        let mut app = application.start(framework).await;
        lose(&mut app, "/lost/refuse").await;
        application.answers(None);
        let mut connection = app.post("/lost/refuse").key("k").open().await;
        assert!(connection.is_hung_up().await);
        application.answers(Some(done()));
        app.post("/lost/refuse").key("k").send().await.assert_replay(201);
        assert_eq!(application.asked(), 2);
        assert_eq!(app.world.effects(), 0);
    }

    async fn the_application_is_told_which_run_it_was(framework: Framework) {
        let application = Application::answering(done());
        let mut app = application.start(framework).await;
        let request = app.post("/scope/user").header("x-user", "alice").key("secret-key");
        let _connection = request.plan(&Plan::gate("never")).open().await;
        app.world.entered(1).await;
        app.restart().await;
        eventually("the run has ended", || app.store.abandoned() == 1).await;
        // Where the next process listens.
        let retry = app.post("/scope/user").header("x-user", "alice").key("secret-key");
        retry.send().await.assert_replay(201);
        let asked = application.asked.lock().unwrap();
        let [lost] = &asked[..] else { panic!("it is asked once: {asked:?}") };
        assert_eq!(lost.operation, "POST /scope/user");
        assert_eq!(lost.key.as_deref(), Some("secret-key.hushed"));
        assert_eq!(lost.caller.as_deref(), Some("alice"));
        assert_eq!(
            app.events.all().last().unwrap().record,
            Some(lost.record.to_string())
        );
        let shown = format!("{lost:?}");
        assert!(!shown.contains("secret-key") && !shown.contains("alice"), "{shown}");
    }

    async fn a_take_over_whose_answer_was_lost_leaves_the_run_lost(framework: Framework) {
        for fault in [Fault::Before, Fault::After] {
            let application = Application::answering(done());
            let mut app = application.start(framework).await;
            lose(&mut app, "/lost/refuse").await;
            let asked = app.store.calls(Verb::Claim).len();
            // The question after the one that finds it lost.
            app.store.hang(Verb::Claim, fault);
            let connection = app.post("/lost/refuse").key("k").open().await;
            app.store.asked(Verb::Claim, asked + 1).await;
            app.store.heal(Verb::Claim);
            app.store.asked(Verb::Claim, asked + 2).await;
            drop(connection);
            soon("nothing runs", app.idempotency.drain()).await;
            app.post("/lost/refuse").key("k").send_until_settled().await.assert_replay(201);
            assert_eq!(app.world.effects(), 0);
        }
        // And where the client stays, and the store does not answer.
        let application = Application::answering(done());
        let mut app = application.start(framework).await;
        lose(&mut app, "/lost/refuse").await;
        let asked = app.store.calls(Verb::Claim).len();
        app.store.fail_after(Verb::Claim, 1, 1, Fault::After);
        let refused = app.post("/lost/refuse").key("k").send().await;
        refused.assert_problem(503, "store-unavailable");
        assert_eq!(app.store.calls(Verb::Claim).len(), asked + 2);
        soon("nothing runs", app.idempotency.drain()).await;
        app.post("/lost/refuse").key("k").send().await.assert_replay(201);
        assert_eq!((application.asked(), app.world.effects()), (1, 0));
    }

    async fn a_run_that_was_overtaken_while_the_application_was_asked_does_not_run(
        framework: Framework,
    ) {
        let application = Application::answering(Reconciled::NotDone);
        let mut app = application.start(framework).await;
        lose(&mut app, "/lost/refuse").await;
        application.gate.send_replace(false);
        let request = app.post("/lost/refuse").key("k");
        let asking = {
            let request = request.clone();
            tokio::spawn(async move { request.send().await })
        };
        eventually("the application is asked", || application.asked() == 1).await;
        // Its claim is lost, and another request is asked in its place, and runs.
        let claim = app.store.calls(Verb::Claim).last().unwrap().1;
        app.store.lose(&claim);
        let winner = tokio::spawn(async move { request.send().await });
        eventually("the application is asked again", || application.asked() == 2).await;
        application.gate.send_replace(true);
        let mut statuses = [
            soon("the first", asking).await.unwrap().status,
            soon("the second", winner).await.unwrap().status,
        ];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409]);
        assert_eq!(app.world.effects(), 1);
    }
}
