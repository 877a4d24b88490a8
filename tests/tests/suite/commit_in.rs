//! `Execution::commit_in`: effect and record are committed together, or not at all.

use std::time::Duration;

use idempotent_runtime::Outcome;
use idempotent_tests::{Fault, Plan, Transact, Verb, eventually, soon, transactional};

const SHORT: Duration = Duration::from_millis(600);

fn plan(transact: Transact) -> Plan {
    Plan {
        transact: Some(transact),
        ..Plan::default()
    }
}

transactional! {
    async fn effect_and_record_are_committed(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/pay").key("k").plan(&plan(Transact::Commit));
        let first = request.send().await;
        first.assert_first(201);
        assert_eq!(first.text(), "first");
        request.send().await.assert_replay_of(&first);
        assert_eq!(app.world.committed().await, 1);
        assert_eq!(app.events.outcomes(), [Outcome::Executed, Outcome::Replayed]);
    }

    async fn without_a_key_the_transaction_is_the_handlers_own(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/key/optional").plan(&plan(Transact::Commit));
        for _ in 0..2 {
            request.send().await.assert_first(201);
        }
        assert_eq!(app.world.committed().await, 2);
    }

    async fn a_commit_that_nobody_told_of_is_found(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/pay").key("k").plan(&plan(Transact::CommitItself));
        for _ in 0..2 {
            // Not the 500 that the handler said.
            let answer = request.send().await;
            answer.assert_replay(201);
            assert_eq!(answer.text(), "first");
        }
        assert_eq!(app.world.committed().await, 1);
        assert_eq!(app.events.count(Outcome::Executed), 1);
        assert_eq!(app.events.count(Outcome::Fenced), 0);
    }

    async fn a_forgotten_commit_leaves_neither_effect_nor_record(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/pay").key("k").plan(&plan(Transact::Forget));
        let first = request.send().await;
        first.assert_first(202);
        // What the handler said is the outcome.
        request.send().await.assert_replay_of(&first);
        assert_eq!(app.world.committed().await, 0);
    }

    async fn what_fails_after_the_commit_does_not_take_it_back(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/pay").key("k").plan(&plan(Transact::ThenFail));
        request.send().await.assert_first(500);
        let retry = request.send().await;
        retry.assert_replay(201);
        assert_eq!(retry.text(), "first");

        let request = app.post("/pay").key("p").plan(&plan(Transact::ThenPanic));
        request.open().await.is_hung_up().await;
        soon("the run has ended", app.idempotency.drain()).await;
        request.send().await.assert_replay(201);
        assert_eq!(app.world.committed().await, 2);
    }

    async fn a_second_transaction_of_a_committed_run_is_refused(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/pay").key("k").plan(&plan(Transact::Again));
        let answer = request.send().await;
        answer.assert_replay(201);
        assert_eq!(answer.text(), "first");
        assert_eq!(app.world.notes().last().unwrap(), "Fenced");
        assert_eq!(app.world.committed().await, 1);
    }

    async fn a_record_that_was_rolled_back_is_not_answered(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/pay").key("k").plan(&plan(Transact::TwiceInOne));
        let first = request.send().await;
        first.assert_first(500);
        assert_eq!(first.text(), "rolled back");
        assert_eq!(app.world.notes().last().unwrap(), "Fenced");
        request.send().await.assert_replay_of(&first);
        assert_eq!(app.world.committed().await, 0);
    }

    async fn a_transaction_that_failed_can_be_done_again(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/pay").key("k").plan(&plan(Transact::RollBackAndAgain));
        let first = request.send().await;
        first.assert_first(201);
        assert_eq!(first.text(), "second");
        request.send().await.assert_replay_of(&first);
        assert_eq!(app.world.committed().await, 1);
    }

    async fn a_release_without_a_commit_frees_the_key(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/pay").key("k");
        let refused = request.clone().plan(&plan(Transact::Unavailable)).send().await;
        refused.assert_first(503);
        assert_eq!(app.world.committed().await, 0);
        let request = request.plan(&plan(Transact::Commit));
        request.send().await.assert_first(201);
        request.send().await.assert_replay(201);
        assert_eq!(app.world.committed().await, 1);
    }

    async fn a_process_that_ends_before_the_commit_has_done_nothing(setting: Setting) {
        let setup = setting.setup().configure(|builder| builder.lease(SHORT));
        let mut app = setup.start().await;
        let gated = Plan { late_gate: Some("never".to_owned()), ..plan(Transact::Commit) };
        let _connection = app.post("/pay").key("k").plan(&gated).open().await;
        eventually("the record is written", || app.world.notes().contains(&"written".to_owned()))
            .await;
        assert_eq!(app.world.committed().await, 0);
        app.restart().await;
        let retry = app.post("/pay").key("k").plan(&plan(Transact::Commit));
        retry.send_until_settled().await.assert_first(201);
        retry.send().await.assert_replay(201);
        assert_eq!(app.world.committed().await, 1);
    }

    async fn an_open_transaction_is_not_overtaken(setting: Setting) {
        let setup = setting.setup().configure(|builder| builder.lease(SHORT));
        let app = setup.start().await;
        let gated = Plan { late_gate: Some("go".to_owned()), ..plan(Transact::Commit) };
        let request = app.post("/pay").key("k").plan(&gated);
        let first = tokio::spawn(async move { request.send().await });
        eventually("the record is written", || app.world.notes().contains(&"written".to_owned()))
            .await;
        // Renewal does not wait for the transaction, nor the transaction for it.
        app.store.asked(Verb::Renew, 3).await;
        app.world.open("go");
        let first = soon("the first", first).await.unwrap();
        first.assert_first(201);
        app.post("/pay").key("k").send().await.assert_replay_of(&first);
        assert_eq!(app.world.committed().await, 1);
    }

    async fn a_run_that_was_overtaken_cannot_commit(setting: Setting) {
        let setup = setting.setup().configure(|builder| builder.lease(SHORT));
        let app = setup.start().await;
        let other = app.sibling().await;
        app.store.hang(Verb::Renew, Fault::Before);
        let gated = Plan { gate: Some("stopped".to_owned()), ..plan(Transact::Commit) };
        let mut stopped = app.post("/pay").key("k").plan(&gated).open().await;
        app.world.entered(1).await;
        let winner = other.post("/pay").key("k").plan(&plan(Transact::Commit)).send_until_settled().await;
        winner.assert_first(201);
        app.world.open("stopped");
        stopped.response().await.assert_replay_of(&winner);
        assert_eq!(app.world.notes().last().unwrap(), "Fenced");
        assert_eq!(app.world.committed().await, 1);
    }

    async fn a_key_in_doubt_is_not_freed_while_its_outcome_is_on_its_way(setting: Setting) {
        let app = setting.start().await;
        app.store.fail(Verb::Complete, 2, Fault::Before);
        let request = app.post("/pay").key("k").plan(&plan(Transact::Forget));
        let first = request.send().await;
        first.assert_first(202);
        soon("the outcome is recorded", app.idempotency.drain()).await;
        request.send().await.assert_replay_of(&first);
        assert_eq!(app.world.entries(), 1);
    }

    async fn a_release_after_a_failed_transaction_frees_the_key(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/pay").key("k");
        let refused = request.clone().plan(&plan(Transact::ReleaseItself)).send().await;
        refused.assert_first(500);
        let request = request.plan(&plan(Transact::Commit));
        request.send().await.assert_first(201);
        assert_eq!(app.world.committed().await, 1);
    }

    async fn a_transaction_that_cannot_be_committed_is_not_taken_for_committed(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/pay").key("k");
        let broken = request.clone().plan(&plan(Transact::BreakAndCommit)).send().await;
        let committed = app.world.committed().await;
        // SQLite undoes the statement that failed and nothing else; PostgreSQL all of it.
        match broken.status {
            201 => assert_eq!(committed, 1),
            status => assert_eq!((status, committed), (503, 0)),
        }
        request.plan(&plan(Transact::Commit)).send().await;
        assert_eq!(app.world.committed().await, 1);
    }

    async fn a_nested_transaction_is_not_taken_for_committed(setting: Setting) {
        let app = setting.start().await;
        let request = app.post("/pay").key("k");
        let nested = request.clone().plan(&plan(Transact::Nested)).send().await;
        nested.assert_first(503);
        assert_eq!(app.world.committed().await, 0);
        request.plan(&plan(Transact::Commit)).send().await.assert_first(201);
        assert_eq!(app.world.committed().await, 1);
    }
}
