//! Stores that are away, slow and full.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use idempotent_runtime::{
    Idempotency, MemoryStore, OnceError, Outcome, Recorded, Scope, StoreDown, store::StoreError,
};
use idempotent_tests::{Fault, Kind, Verb, eventually, logs, soon};

use crate::{Caller, LONG};

#[tokio::test]
async fn a_store_that_cannot_be_asked_is_an_error_with_its_cause() {
    let caller = Caller::on(Kind::Memory).await;
    caller.store.fail(Verb::Claim, 1, Fault::Before);
    let error = caller.call().run(caller.effect()).await.unwrap_err();
    let OnceError::StoreUnavailable(StoreError::Unavailable(cause)) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(cause.to_string(), "told to fail");
    assert!(error.is_retryable());
    assert_eq!(caller.world.effects(), 0);
    assert_eq!(
        caller
            .call()
            .wait(LONG)
            .run(caller.effect())
            .await
            .unwrap()
            .value,
        1
    );
}

#[tokio::test]
async fn store_down_run_runs_it_without_protection() {
    let caller = Caller::on(Kind::Memory).await;
    caller.store.fail(Verb::Claim, 2, Fault::Before);
    for _ in 0..2 {
        let world = caller.world.clone();
        let call = caller.call().store_down(StoreDown::Run);
        let once = call.run_with(|execution| async move {
            assert!(!execution.is_protected());
            assert_eq!(execution.key(), None);
            execution.commit(world.act()).await.unwrap()
        });
        let once = once.await.unwrap();
        assert_eq!((once.replayed, once.recorded), (false, Recorded::Never));
    }
    assert_eq!(caller.world.effects(), 2);
    assert_eq!(caller.outcomes(), [Outcome::UnprotectedStoreDown; 2]);
}

#[tokio::test]
async fn a_full_store_refuses_before_the_function_runs() {
    let store = MemoryStore::builder().max_entries(1).build();
    let idempotency = Idempotency::builder(store).build();
    let once = |key| idempotency.once("charge", Scope::global(), key);
    once("1").run(async { 1 }).await.unwrap();
    let error = once("2").run(async { 2 }).await.unwrap_err();
    assert!(matches!(error, OnceError::StoreFull), "{error:?}");
    assert!(error.is_retryable());
    assert!(once("1").run(async { 3 }).await.unwrap().replayed);
}

#[tokio::test]
async fn a_value_whose_record_fails_is_returned_and_recorded_later() {
    let caller = Caller::on(Kind::Memory).await;
    caller.store.fail(Verb::Complete, 1, Fault::Before);
    let once = caller.call().run(caller.effect()).await.unwrap();
    assert_eq!(
        (once.value, once.replayed, once.recorded),
        (1, false, Recorded::Later)
    );
    soon("it is recorded", caller.idempotency.drain()).await;
    let again = caller.call().run(caller.effect()).await.unwrap();
    assert_eq!(
        (again.value, again.replayed, again.recorded),
        (1, true, Recorded::Yes)
    );
}

#[tokio::test]
async fn a_call_that_is_dropped_before_its_claim_runs_nothing_and_frees_the_key() {
    let caller = Caller::on(Kind::Memory).await;
    caller.store.hang(Verb::Claim, Fault::After);
    let call = tokio::spawn(caller.call().run(caller.effect()));
    caller.store.asked(Verb::Claim, 1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    caller.store.heal(Verb::Claim);
    eventually("the key is given back", || {
        caller.store.answered(Verb::Release) == 1
    })
    .await;
    assert_eq!(caller.world.effects(), 0);
    let once = caller.call().run(caller.effect()).await.unwrap();
    assert_eq!((once.value, once.replayed), (1, false));
}

#[tokio::test]
async fn a_lease_is_renewed_for_as_long_as_the_function_runs() {
    let caller = Caller::with_lease();
    let call = caller.call().lease(Duration::from_millis(100));
    let running = tokio::spawn(call.run(caller.behind("gate")));
    caller.store.asked(Verb::Renew, 3).await;
    let (_, claim) = caller.store.calls(Verb::Renew)[0];
    assert_eq!(claim.lease, Duration::from_millis(100));
    caller.world.open("gate");
    assert_eq!(running.await.unwrap().unwrap().value, 1);
}

#[tokio::test]
async fn a_lease_is_renewed_while_the_function_always_has_something_to_do() {
    let caller = Caller::with_lease();
    let call = caller.call().lease(Duration::from_millis(100));
    let is_done = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&is_done);
    let running = tokio::spawn(call.run(async move {
        // As one that reads a channel which is never empty.
        while !done.load(Ordering::Relaxed) {
            tokio::task::consume_budget().await;
        }
        17
    }));
    caller.store.asked(Verb::Renew, 3).await;
    is_done.store(true, Ordering::Relaxed);
    assert_eq!(running.await.unwrap().unwrap().value, 17);
}

#[tokio::test]
async fn settings_are_kept_within_bounds() {
    let caller = Caller::on(Kind::Memory).await;
    let call = caller.call().ttl(Duration::ZERO).lease(Duration::MAX);
    let call = call.max_response(0).wait(Duration::MAX);
    call.run(async {}).await.unwrap();
    let (_, claim) = caller.store.calls(Verb::Claim)[0];
    assert_eq!(claim.ttl, Duration::from_millis(100));
    assert_eq!(claim.lease, Duration::from_hours(1));
    assert_eq!(claim.max_response, 1);
}

#[tokio::test]
async fn nothing_of_a_key_a_scope_a_payload_or_a_value_is_logged() {
    logs::keep();
    let caller = Caller::on(Kind::Memory).await;
    let call = |payload: &str| {
        let scope = Scope::named("user", "secret-alice".to_owned());
        let once = caller.idempotency.once("charge", scope, "secret-key");
        once.payload(payload)
    };
    let mut told = Vec::new();
    caller.store.fail(Verb::Claim, 1, Fault::Before);
    let error = call("secret-payload").run(caller.effect()).await;
    told.push(error.unwrap_err());
    caller.store.fail(Verb::Complete, 1, Fault::Before);
    let value = async { "secret-value".to_owned() };
    let once = call("secret-payload").wait(LONG).run(value).await;
    assert!(!once.unwrap().replayed);
    soon("it is recorded", caller.idempotency.drain()).await;
    let error = call("secret-other").run(caller.effect()).await;
    told.push(error.unwrap_err());
    let error = call("secret-payload").run(caller.effect()).await;
    told.push(error.unwrap_err());
    for error in &told {
        let source = std::error::Error::source(error).map(ToString::to_string);
        let text = format!("{error} {error:?} {source:?}");
        assert!(!text.contains("secret"), "{text}");
    }
    let log = logs::all();
    assert!(log.contains("charge"), "{log}");
    assert!(!log.contains("secret"), "{log}");
}
