//! Runs whose owner is gone, or was overtaken.

use std::time::Duration;

use idempotent_runtime::{
    MemoryStore, OnLost, Once, OnceError, Outcome, Reconciled, Recorded, Scope, StoredResponse,
};
use idempotent_tests::{Kind, Verb, eventually, soon};
use tokio::task::JoinHandle;

use crate::{Caller, LONG};

/// A run that ends with its process.
pub(crate) async fn lose(caller: &Caller, on_lost: OnLost) {
    let process = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    process.spawn(caller.call().on_lost(on_lost).run(caller.behind("never")));
    caller.world.entered(1).await;
    process.shutdown_background();
    eventually("the run has ended", || caller.store.abandoned() == 1).await;
}

#[tokio::test]
async fn a_lost_run_is_run_again_or_not_as_on_lost_says() {
    let caller = Caller::on(Kind::Memory).await;
    lose(&caller, OnLost::Rerun).await;
    assert_eq!(caller.call().run(caller.effect()).await.unwrap().value, 1);

    let caller = Caller::on(Kind::Memory).await;
    lose(&caller, OnLost::Refuse).await;
    let call = || caller.call().on_lost(OnLost::Refuse);
    for _ in 0..2 {
        let error = call().wait(LONG).run(caller.effect()).await.unwrap_err();
        assert!(matches!(error, OnceError::OutcomeUnknown), "{error:?}");
    }
    assert_eq!(caller.world.effects(), 0);
}

#[tokio::test]
async fn the_application_is_asked_what_became_of_a_lost_run() {
    let caller = Caller::configured(|builder| {
        builder.reconcile(|lost| async move {
            assert_eq!(lost.operation, "charge");
            assert_eq!(lost.key.as_deref(), Some("k.hushed"));
            assert_eq!(lost.caller, None);
            Reconciled::Done(StoredResponse::value(&17).unwrap())
        })
    });
    lose(&caller, OnLost::Rerun).await;
    for _ in 0..2 {
        let once = caller.call().run(caller.effect()).await.unwrap();
        assert_eq!((once.value, once.replayed), (17, true));
    }
    assert_eq!(caller.world.effects(), 0);
    let outcomes = caller.outcomes();
    assert!(outcomes.contains(&Outcome::Reconciled), "{outcomes:?}");
}

#[tokio::test]
async fn a_reconciled_response_that_is_no_value_is_an_error_and_no_run() {
    let caller = Caller::configured(|builder| {
        builder.reconcile(|_| async { Reconciled::Done(StoredResponse::new(201, &[], b"17")) })
    });
    lose(&caller, OnLost::Rerun).await;
    for _ in 0..2 {
        let error = caller.call().run(caller.effect()).await.unwrap_err();
        assert!(matches!(error, OnceError::Undecodable(_)), "{error:?}");
    }
    assert_eq!(caller.world.effects(), 0);
}

#[tokio::test]
async fn whose_key_was_lost_is_told_to_the_application() {
    let caller = Caller::configured(|builder| {
        builder.reconcile(|lost| async move {
            let caller = lost.caller.expect("the scope has a value");
            Reconciled::Done(StoredResponse::value(&caller).unwrap())
        })
    });
    let call = || {
        let alice = Scope::named("user", "alice".to_owned());
        caller.idempotency.once("charge", alice, "k.hushed")
    };
    let process = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    process.spawn(call().run(caller.behind("never")));
    caller.world.entered(1).await;
    process.shutdown_background();
    eventually("the run has ended", || caller.store.abandoned() == 1).await;
    let once = call().run(async { String::new() }).await.unwrap();
    assert_eq!(once.value, "alice");
}

/// A run behind a gate whose claim is not there any more.
async fn overtaken() -> (Caller, JoinHandle<Result<Once<usize>, OnceError>>) {
    let caller = Caller::with_lease();
    let slow = tokio::spawn(caller.call().run(caller.behind("gate")));
    caller.world.entered(1).await;
    let (_, claim) = caller.store.calls(Verb::Claim)[0];
    caller.store.lose(&claim);
    (caller, slow)
}

#[tokio::test]
async fn who_was_overtaken_gets_the_winners_value() {
    let (caller, slow) = overtaken().await;
    let winner = caller.call().run(async { 100 }).await.unwrap();
    assert_eq!((winner.value, winner.replayed), (100, false));
    assert!(winner.recorded == Recorded::Yes && !winner.overtaken);
    caller.world.open("gate");
    let overtaken = soon("it ends", slow).await.unwrap().unwrap();
    assert_eq!((overtaken.value, overtaken.replayed), (100, true));
    assert!(overtaken.recorded == Recorded::Yes && overtaken.overtaken);
    assert!(caller.outcomes().contains(&Outcome::Fenced));
    let replay = caller.call().run(async { 0 }).await.unwrap();
    assert!(replay.replayed && !replay.overtaken);
}

#[tokio::test]
async fn who_was_overtaken_while_the_winner_still_runs_is_told_so() {
    let (caller, slow) = overtaken().await;
    let winner = tokio::spawn(caller.call().run(caller.behind("other gate")));
    caller.world.entered(2).await;
    caller.world.open("gate");
    let error = soon("it ends", slow).await.unwrap().unwrap_err();
    let OnceError::Overtaken(other) = &error else {
        panic!("{error:?}")
    };
    assert!(matches!(**other, OnceError::InFlight { .. }), "{other:?}");
    assert!(error.is_retryable());
    caller.world.open("other gate");
    assert!(!winner.await.unwrap().unwrap().replayed);
}

#[tokio::test]
async fn a_record_lives_for_its_ttl() {
    let clock = idempotent_runtime::ManualClock::default();
    let memory = MemoryStore::builder().clock(clock.clone()).build();
    let store = idempotent_tests::Steered::new(memory);
    let place = idempotent_tests::Place::new(Kind::Memory, idempotent_tests::namespace());
    let caller = Caller::over(store, place, |builder| builder);
    let call = || caller.call().ttl(Duration::from_secs(10));
    assert_eq!(call().run(caller.effect()).await.unwrap().value, 1);
    clock.advance(Duration::from_millis(9_999));
    assert_eq!(call().run(caller.effect()).await.unwrap().value, 1);
    clock.advance(Duration::from_millis(1));
    assert_eq!(call().run(caller.effect()).await.unwrap().value, 2);
}
