//! What operators do to calls: protection turned off, and records looked up and completed by hand.

use std::time::Duration;

use idempotent_runtime::{
    Idempotency, OnLost, OnceError, Outcome, Recorded, Scope, StoredResponse,
    store::{Forget, RecordState},
};
use idempotent_tests::{Kind, logs};

use crate::{Caller, lost::lose};

#[tokio::test]
async fn functions_run_unprotected_while_protection_is_off() {
    let caller = Caller::on(Kind::Memory).await;
    let first = caller.call().run(caller.effect()).await.unwrap();
    caller.idempotency.disable();
    for _ in 0..2 {
        let world = caller.world.clone();
        let once = caller.call().run_with(|execution| async move {
            assert!(!execution.is_protected());
            execution.commit(world.act()).await.unwrap()
        });
        let once = once.await.unwrap();
        assert_eq!((once.replayed, once.recorded), (false, Recorded::Never));
    }
    // Neither a key nor a caller is needed.
    let keyless = caller
        .idempotency
        .once("charge", Scope::expression(String::new()), "");
    let failed = keyless.try_run(async { Err::<u8, _>(Failed::Itself) });
    assert!(matches!(failed.await, Err(Failed::Itself)));
    assert_eq!(caller.world.effects(), 3);
    assert_eq!(caller.idempotency.unprotected(), 3);
    let mut outcomes = vec![Outcome::Executed];
    outcomes.extend([Outcome::UnprotectedDisabled; 3]);
    assert_eq!(caller.outcomes(), outcomes);
    let log = logs::all();
    let is_told = |line: &str| line.contains("WARN") && line.contains("unprotected-disabled");
    assert!(log.lines().any(is_told), "{log}");

    caller.idempotency.enable();
    let again = caller.call().run(caller.effect()).await.unwrap();
    assert_eq!((again.value, again.replayed), (first.value, true));
}

enum Failed {
    Itself,
    /// Only here, because a caller's error is made of it.
    Once,
}

impl From<OnceError> for Failed {
    fn from(_: OnceError) -> Self {
        Self::Once
    }
}

#[tokio::test]
async fn a_value_is_completed_by_hand_and_forgotten_and_has_no_header_of_http() {
    let caller = Caller::configured(|builder| builder.expires_header(true));
    lose(&caller, OnLost::Refuse).await;
    let value = StoredResponse::value(&17).unwrap();
    let (idempotency, global) = (&caller.idempotency, Scope::global());
    let completed = idempotency.complete_with("charge", &global, "k.hushed", &value);
    completed.await.unwrap();
    assert_eq!(recorded(idempotency).await, value);
    let once = caller.call().run(caller.effect()).await.unwrap();
    assert_eq!((once.value, once.replayed), (17, true));

    let forgotten = idempotency.forget("charge", &global, "k.hushed", Forget::EvenDone);
    forgotten.await.unwrap();
    let once = caller.call().ttl(Duration::from_hours(1));
    let once = once.run(caller.effect()).await.unwrap();
    assert_eq!((once.value, once.replayed), (1, false));
    let value = StoredResponse::value(&1).unwrap();
    assert_eq!(recorded(idempotency).await, value);
}

async fn recorded(idempotency: &Idempotency) -> StoredResponse {
    let global = Scope::global();
    let found = idempotency
        .inspect("charge", &global, "k.hushed")
        .await
        .unwrap();
    let RecordState::Done { response, .. } = found.state else {
        panic!("{found:?}")
    };
    response
}
