//! Operations with a name.

use super::*;
use crate::{MemoryKeyStore, RetryPolicy};

#[tokio::test(start_paused = true)]
async fn a_named_operation_has_one_key_until_it_is_forgotten() {
    let store = MemoryKeyStore::new();
    let retry = Retry::default().key_store(store.clone());
    let operation = Operation::named("invoice-4711");
    let mut key = None;
    for events in [
        vec![Lost; 8],
        vec![Event::Answer(401)],
        vec![Event::Answer(500)],
        vec![NotSent],
        vec![Problem(422, "key-reused")],
        vec![Problem(409, "outcome-unknown")],
        vec![Event::Answer(201)],
        vec![Replay(201)],
    ] {
        let is_done = matches!(events[0], Event::Answer(201) | Replay(201));
        let script = Script::new(events.clone());
        let told = script.run(&retry, &operation).await;
        let (is_certain, is_kept) = match &told {
            Ok((_, attempts)) => (attempts.is_certain(), attempts.is_key_kept()),
            Err(error) => (
                !error.is_uncertain(),
                error.attempts().unwrap().is_key_kept(),
            ),
        };
        assert_eq!((is_certain, is_kept), (is_done, true), "{events:?}");
        let sent = script.keys()[0].clone();
        assert_eq!(*key.get_or_insert(sent.clone()), sent, "{events:?}");
    }
    assert!(store.forget("invoice-4711").await.unwrap());
    let script = Script::new([Event::Answer(400)]);
    let (_, attempts) = script.run(&retry, &operation).await.unwrap();
    assert_ne!(Some(attempts.key()), key.as_ref(), "it starts over");
    assert!(attempts.is_certain() && !attempts.is_key_kept());
}

#[tokio::test(start_paused = true)]
async fn an_error_names_the_operation() {
    let retry = Retry::new(RetryPolicy::never()).key_store(MemoryKeyStore::new());
    let operation = Operation::named("invoice-4711");
    let error = Script::new([Lost]).run(&retry, &operation).await;
    let text = error.unwrap_err().to_string();
    assert_eq!(
        text,
        "operation \"invoice-4711\" has an uncertain outcome after 1 attempt: it may have been \
         done. Its key is kept: run it again by the same name, or find out"
    );
    let error = Script::new([]).run(&Retry::default(), &operation).await;
    assert!(matches!(error, Err(OperationError::NoKeyStore { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_is_dropped_keeps_its_key() {
    let store = MemoryKeyStore::new();
    let retry = Retry::default().key_store(store.clone());
    let operation = Operation::named("invoice-4711");
    let script = Script::new([Silence]);
    let dropped = script.run(&retry, &operation);
    assert!(timeout(Duration::from_secs(1), dropped).await.is_err());
    let script_again = Script::new([Event::Answer(401)]);
    let (_, again) = script_again.run(&retry, &operation).await.unwrap();
    assert_eq!(script.keys()[0], *again.key());
    assert!(!again.is_certain(), "the dropped one may have done it");
    assert!(store.forget("invoice-4711").await.unwrap());
}
