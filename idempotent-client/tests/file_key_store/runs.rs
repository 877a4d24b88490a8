//! Runs of one operation through several handles.

use idempotent_client::{KeyFate, KeyStore as _, KeyStoreError, RunOutcome};

use crate::{Place, begin, end};

#[tokio::test]
async fn a_key_outlives_its_store() {
    let place = Place::new();
    let store = place.open().await;
    let first = begin(&store, "pay").await;
    let fate = end(&store, &first, RunOutcome::Uncertain).await;
    assert_eq!(fate, KeyFate::Kept);
    drop(store);
    let store = place.open().await;
    let again = begin(&store, "pay").await;
    assert_eq!(again.key, first.key);
    assert_eq!(end(&store, &again, RunOutcome::Done).await, KeyFate::Kept);
    drop(store);
    assert_eq!(place.files(), ["keys.json", "keys.json.lock"]);
}

#[tokio::test]
async fn many_tasks_with_two_handles_get_one_key() {
    let place = Place::new();
    let stores = [place.open().await, place.open().await];
    let begun = (0..20).map(|number| {
        let store = stores[number % 2].clone();
        tokio::spawn(async move { begin(&store, "pay").await })
    });
    let mut runs = Vec::new();
    for begun in begun.collect::<Vec<_>>() {
        runs.push(begun.await.unwrap());
    }
    assert!(runs.iter().all(|run| run.key == runs[0].key));
    for (number, run) in runs.iter().enumerate() {
        let fate = end(&stores[(number + 1) % 2], run, RunOutcome::Refused).await;
        let expected = if number == 19 {
            KeyFate::GivenUp
        } else {
            KeyFate::Kept
        };
        assert_eq!(fate, expected, "the last gives it up");
    }
}

#[tokio::test]
async fn what_is_dropped_is_uncertain_for_this_and_for_other_handles() {
    let place = Place::new();
    let (here, there) = (place.open().await, place.open().await);
    let run = begin(&here, "pay").await;
    here.abandon("pay", &run);
    let again = begin(&here, "pay").await;
    assert_eq!(again.key, run.key);
    assert_eq!(end(&here, &again, RunOutcome::Refused).await, KeyFate::Kept);
    let again = begin(&there, "pay").await;
    assert_eq!(again.key, run.key);
    assert_eq!(end(&there, &again, RunOutcome::Done).await, KeyFate::Kept);
}

#[tokio::test]
async fn an_end_that_nobody_waited_for_gives_nothing_up() {
    let place = Place::new();
    let store = place.open().await;
    let run = begin(&store, "pay").await;
    // It is struck off in the file, and its caller is gone before it knows.
    let fate = end(&store, &run, RunOutcome::Refused).await;
    assert_eq!(fate, KeyFate::GivenUp);
    store.abandon("pay", &run);
    let again = begin(&store, "pay").await;
    assert_eq!(again.key, run.key);
}

#[tokio::test]
async fn what_runs_is_not_forgotten_and_what_is_uncertain_can_be() {
    let place = Place::new();
    let (here, there) = (place.open().await, place.open().await);
    let run = begin(&here, "pay").await;
    let error = there.forget("pay").await.unwrap_err();
    assert!(matches!(error, KeyStoreError::Running { .. }), "{error}");
    end(&here, &run, RunOutcome::Uncertain).await;
    assert!(there.forget("pay").await.unwrap());
    assert!(!there.forget("pay").await.unwrap());
    assert_ne!(begin(&here, "pay").await.key, run.key);
}

#[test]
fn what_was_dropped_after_the_runtime_has_ended_is_struck_off() {
    let place = Place::new();
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let (store, run) = runtime().block_on(async {
        let store = place.open().await;
        let run = begin(&store, "pay").await;
        end(&store, &run, RunOutcome::Refused).await;
        (store, run)
    });
    // Its caller was not told.
    store.abandon("pay", &run);
    drop(store);
    let again = runtime().block_on(async { begin(&place.open().await, "pay").await });
    assert_eq!(again.key, run.key);
}
