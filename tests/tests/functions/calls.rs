//! Calls of a function with one key, one after another and at the same time.

use std::collections::BTreeMap;

use idempotent_runtime::{KeyError, OnceError, Outcome, Recorded, Scope};
use idempotent_tests::{Kind, eventually, soon};
use serde::{Deserialize, Serialize};

use crate::{Caller, LONG, on_every_store};

/// What a function may return.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Receipt {
    number: usize,
    lines: Vec<(String, Option<i64>)>,
}

fn receipt(number: usize) -> Receipt {
    Receipt {
        number,
        lines: vec![("é\u{0}\"".to_owned(), Some(-1)), (String::new(), None)],
    }
}

on_every_store! {
    async fn the_first_call_runs_and_every_other_gets_its_value(kind: Kind) {
        let caller = Caller::on(kind).await;
        for attempt in 0..3 {
            // Another process, which knows nothing but the store.
            let caller = caller.beside(kind).await;
            let effect = caller.effect();
            let once = caller.call().run(async { receipt(effect.await) }).await.unwrap();
            assert_eq!(once.value, receipt(1));
            assert_eq!(once.replayed, attempt > 0);
        }
        assert_eq!(caller.world.effects(), 1);
    }

    async fn calls_at_the_same_time_run_once_and_wait_for_it(kind: Kind) {
        let here = Caller::on(kind).await;
        let there = here.beside(kind).await;
        let calls: Vec<_> = (0..8)
            .map(|number| {
                let caller = if number % 2 == 0 { &here } else { &there };
                tokio::spawn(caller.call().wait(LONG).run(caller.behind("gate")))
            })
            .collect();
        here.world.entered(1).await;
        here.world.open("gate");
        let mut ran = 0;
        for call in calls {
            let once = soon("the call has a value", call).await.unwrap().unwrap();
            assert_eq!(once.value, 1);
            ran += usize::from(!once.replayed);
        }
        assert_eq!((ran, here.world.effects(), here.world.entries()), (1, 1, 1));
    }

    async fn a_call_that_does_not_wait_is_told_when_to_come_again(kind: Kind) {
        let caller = Caller::on(kind).await;
        let first = tokio::spawn(caller.call().run(caller.behind("gate")));
        caller.world.entered(1).await;
        let error = caller.call().run(caller.effect()).await.unwrap_err();
        assert!(matches!(error, OnceError::InFlight { .. }), "{error:?}");
        assert_eq!(error.retry_after().unwrap().as_secs(), 1);
        assert!(error.is_retryable());
        caller.world.open("gate");
        assert_eq!(first.await.unwrap().unwrap().value, 1);
        let again = caller.call().run(caller.effect()).await.unwrap();
        assert_eq!((again.value, again.replayed), (1, true));
    }

    async fn an_error_of_try_run_frees_the_key(kind: Kind) {
        let caller = Caller::on(kind).await;
        for _ in 0..2 {
            let failed = caller.call().try_run(async { Err::<usize, _>(Failed::Function) });
            assert!(matches!(failed.await, Err(Failed::Function)));
        }
        let effect = caller.effect();
        let once = caller.call().try_run(async { Ok::<_, Failed>(effect.await) });
        let once = once.await.unwrap();
        assert_eq!((once.value, once.replayed), (1, false));
        let again = caller.call().try_run(async { Err::<usize, _>(Failed::Function) });
        let again = again.await.unwrap();
        assert_eq!((again.value, again.replayed), (1, true));
    }

    async fn an_error_that_run_returns_is_recorded(kind: Kind) {
        let caller = Caller::on(kind).await;
        for replayed in [false, true] {
            let effect = caller.effect();
            let declined = async { Err::<u8, _>(format!("declined {}", effect.await)) };
            let once = caller.call().run(declined).await.unwrap();
            assert_eq!(once.value, Err("declined 1".to_owned()));
            assert_eq!(once.replayed, replayed);
        }
        assert_eq!(caller.world.effects(), 1);
    }

    async fn another_payload_is_refused_while_it_runs_and_when_it_is_done(kind: Kind) {
        let caller = Caller::on(kind).await;
        let call = |amount: i64| caller.call().payload(&BTreeMap::from([("amount", amount)]));
        let first = tokio::spawn(call(100).run(caller.behind("gate")));
        caller.world.entered(1).await;
        let error = call(999).wait(LONG).run(caller.effect()).await.unwrap_err();
        assert!(matches!(error, OnceError::KeyReused), "{error:?}");
        caller.world.open("gate");
        first.await.unwrap().unwrap();
        let error = call(999).run(caller.effect()).await.unwrap_err();
        assert!(matches!(error, OnceError::KeyReused), "{error:?}");
        let error = caller.call().run(caller.effect()).await.unwrap_err();
        assert!(matches!(error, OnceError::KeyReused), "{error:?}");
        assert!(call(100).run(caller.effect()).await.unwrap().replayed);
        assert_eq!(caller.world.effects(), 1);
    }

    async fn a_call_that_is_dropped_goes_on_and_the_next_gets_its_value(kind: Kind) {
        let caller = Caller::on(kind).await;
        let call = caller.call().run(caller.behind("gate"));
        let dropped = tokio::spawn(call);
        caller.world.entered(1).await;
        dropped.abort();
        assert!(dropped.await.unwrap_err().is_cancelled());
        assert_eq!(caller.idempotency.running(), 1);
        let waiting = tokio::spawn(caller.call().wait(LONG).run(caller.effect()));
        caller.world.open("gate");
        let once = soon("the next has the value", waiting).await.unwrap().unwrap();
        assert_eq!((once.value, once.replayed), (1, true));
        soon("all have ended", caller.idempotency.drain()).await;
        assert_eq!(caller.world.effects(), 1);
    }

    async fn a_panic_unwinds_and_is_recorded(kind: Kind) {
        let caller = Caller::on(kind).await;
        let world = caller.world.clone();
        let panics = caller.call().run::<usize, _>(async move {
            world.act();
            panic!("after the effect")
        });
        let panic = tokio::spawn(panics).await.unwrap_err().into_panic();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"after the effect"));
        for _ in 0..2 {
            let error = caller.call().run(caller.effect()).await.unwrap_err();
            assert!(matches!(error, OnceError::Panicked), "{error:?}");
            assert!(!error.is_retryable());
        }
        assert_eq!(caller.world.effects(), 1);
    }

    async fn a_value_that_is_too_large_is_returned_and_not_kept(kind: Kind) {
        let caller = Caller::on(kind).await;
        let large = |effect| async move {
            let _: usize = effect;
            "x".repeat(9)
        };
        let call = || caller.call().max_response(10);
        let effect = caller.effect();
        let first = call().run(async move { large(effect.await).await }).await.unwrap();
        assert_eq!(first.value.len(), 9);
        let error = call().run(async { String::new() }).await.unwrap_err();
        assert!(matches!(error, OnceError::ValueNotKept), "{error:?}");
        // In quotes it is as large as may be.
        let fits = caller.idempotency.once("charge", Scope::global(), "l").max_response(10);
        fits.run(async { "x".repeat(8) }).await.unwrap();
        let fits = caller.idempotency.once("charge", Scope::global(), "l");
        assert_eq!(fits.run(async { String::new() }).await.unwrap().value, "x".repeat(8));
    }

    async fn a_value_of_another_type_is_an_error_and_no_second_run(kind: Kind) {
        let caller = Caller::on(kind).await;
        caller.call().run(async { "secret-value".to_owned() }).await.unwrap();
        let error = caller.call().run(caller.effect()).await.unwrap_err();
        assert!(matches!(error, OnceError::Undecodable(_)), "{error:?}");
        let source = std::error::Error::source(&error).unwrap();
        let told = format!("{error} {error:?} {source}");
        assert!(!told.contains("secret"), "{told}");
        assert_eq!(caller.world.effects(), 0);
    }

    async fn keys_of_others_are_other_keys(kind: Kind) {
        let caller = Caller::on(kind).await;
        let alice = || Scope::named("user", "alice".to_owned());
        let scopes = [Scope::global(), alice(), Scope::named("user", "bob".to_owned())];
        for (number, scope) in scopes.into_iter().enumerate() {
            let once = caller.idempotency.once("charge", scope, "k.hushed");
            assert_eq!(once.run(caller.effect()).await.unwrap().value, number + 1);
        }
        let other = caller.idempotency.once("refund", alice(), "k.hushed");
        assert!(!other.run(caller.effect()).await.unwrap().replayed);
        let again = caller.idempotency.once("charge", alice(), "k.hushed");
        assert_eq!(again.run(caller.effect()).await.unwrap().value, 2);
    }
}

#[derive(Debug)]
enum Failed {
    Function,
    #[allow(dead_code)] // Seen where a test fails.
    Once(OnceError),
}

impl From<OnceError> for Failed {
    fn from(error: OnceError) -> Self {
        Self::Once(error)
    }
}

#[tokio::test]
async fn a_value_that_cannot_be_serialised_is_returned_and_not_kept() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Unserialisable(usize);

    impl Serialize for Unserialisable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("never"))
        }
    }

    let caller = Caller::on(Kind::Memory).await;
    let effect = caller.effect();
    let first = caller
        .call()
        .run(async { Unserialisable(effect.await) })
        .await;
    assert_eq!(first.unwrap().value, Unserialisable(1));
    let effect = caller.effect();
    let again = caller
        .call()
        .run(async { Unserialisable(effect.await) })
        .await;
    assert!(matches!(again, Err(OnceError::ValueNotKept)), "{again:?}");
    let unserialisable = caller.call().payload(&Unserialisable(1));
    let error = unserialisable.run(caller.effect()).await.unwrap_err();
    assert!(matches!(error, OnceError::Payload(_)), "{error:?}");
    assert_eq!(caller.world.effects(), 1);
}

#[tokio::test]
async fn a_closure_is_not_called_before_the_claim_is_granted() {
    let caller = Caller::on(Kind::Memory).await;
    for _ in 0..2 {
        let world = caller.world.clone();
        let once = caller.call().run_with(move |execution| {
            assert!(execution.is_protected());
            assert_eq!(execution.key(), Some("k.hushed"));
            let number = world.act();
            async move { number }
        });
        assert_eq!(once.await.unwrap().value, 1);
    }
    assert_eq!(caller.world.effects(), 1);
    // A call that nobody waits for does nothing.
    drop(
        caller
            .idempotency
            .once("charge", Scope::global(), "l")
            .run(caller.effect()),
    );
    assert_eq!(caller.world.effects(), 1);
}

#[tokio::test]
async fn a_closure_that_panics_before_its_future_is_recorded() {
    let caller = Caller::on(Kind::Memory).await;
    let call = caller
        .call()
        .run_with::<usize, std::future::Ready<usize>>(|_| panic!("early"));
    tokio::spawn(call).await.unwrap_err();
    let error = caller.call().run(caller.effect()).await.unwrap_err();
    assert!(matches!(error, OnceError::Panicked), "{error:?}");
}

#[tokio::test]
async fn what_is_committed_is_what_others_get() {
    let caller = Caller::on(Kind::Memory).await;
    let world = caller.world.clone();
    let call = caller.call().try_run_with(|execution| async move {
        execution.commit(world.act()).await.unwrap();
        Err(Failed::Function)
    });
    assert!(matches!(call.await, Err(Failed::Function)));
    let again = caller.call().run(caller.effect()).await.unwrap();
    assert_eq!((again.value, again.replayed), (1, true));
}

#[tokio::test]
async fn a_function_can_say_that_nothing_has_happened() {
    let caller = Caller::on(Kind::Memory).await;
    let call = caller.call().run_with(|execution| async move {
        execution.release();
        7
    });
    let once = call.await.unwrap();
    assert_eq!((once.value, once.recorded), (7, Recorded::Never));
    assert_eq!(caller.call().run(caller.effect()).await.unwrap().value, 1);
    assert_eq!(caller.outcomes(), [Outcome::Released, Outcome::Executed]);
}

#[tokio::test]
async fn what_is_no_key_and_nobodys_scope_are_refused() {
    let caller = Caller::on(Kind::Memory).await;
    let once = |scope, key: &str| {
        let once = caller.idempotency.once("charge", scope, key);
        once.run(caller.effect())
    };
    let error = once(Scope::global(), "").await.unwrap_err();
    assert!(
        matches!(error, OnceError::KeyInvalid(KeyError::Empty)),
        "{error:?}"
    );
    let long = "k".repeat(256);
    let error = once(Scope::global(), &long).await.unwrap_err();
    assert!(
        matches!(error, OnceError::KeyInvalid(KeyError::TooLong)),
        "{error:?}"
    );
    let error = once(Scope::named("user", String::new()), "k.hushed")
        .await
        .unwrap_err();
    assert!(matches!(error, OnceError::ScopeEmpty), "{error:?}");
    assert_eq!(caller.world.effects(), 0);
    let refused = [
        Outcome::KeyInvalid,
        Outcome::KeyInvalid,
        Outcome::CallerUnknown,
    ];
    assert_eq!(caller.outcomes(), refused);
}

#[tokio::test]
async fn a_call_without_its_answer_leaves_nothing_behind() {
    let caller = Caller::on(Kind::Memory).await;
    let text = format!(
        "{:?}",
        caller.idempotency.once(
            "charge",
            Scope::named("user", "alice".to_owned()),
            "k-secret"
        )
    );
    assert!(
        text.contains("charge") && !text.contains("alice") && !text.contains("secret"),
        "{text}"
    );
    eventually("nothing runs", || caller.idempotency.running() == 0).await;
}
