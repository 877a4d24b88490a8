//! A lock that somebody does not let go.

use std::{fs, process::Child, task::Poll, time::Duration};

use idempotent_client::{Answer, KeyStoreError, Operation, OperationError, Retry, Verdict};

use crate::{Place, STORE, another_process, begin, says, until_killed};

#[tokio::test]
#[ignore = "is what another process of these tests does"]
async fn holds_the_lock() {
    let Ok(path) = std::env::var(STORE) else {
        return;
    };
    let lock = fs::File::options().write(true).open(format!("{path}.lock"));
    lock.as_ref().unwrap().lock().unwrap();
    println!("it is locked");
    until_killed();
}

fn lock_holder(place: &Place) -> Child {
    let mut holder = another_process("lock::holds_the_lock", &place.path());
    says(&mut holder, "it is locked");
    holder
}

#[tokio::test]
async fn a_lock_that_is_never_let_go_holds_no_operation_up() {
    let place = Place::new();
    let store = place.open().await;
    let retry = Retry::default()
        .key_store(store.clone())
        .key_store_timeout(Duration::from_millis(200));
    let operation = Operation::named("pay");
    let mut holder = None;
    let mut key = None;
    let told: Result<_, OperationError<std::io::Error>> = retry
        .run(&operation, |attempt| {
            key = Some(attempt.key().clone());
            holder = Some(lock_holder(&place));
            async { Ok(Answer::new(Verdict::Done, false, 201)) }
        })
        .await;
    let (status, attempts) = told.unwrap();
    assert!(status == 201 && attempts.is_certain() && attempts.is_key_kept());

    let told: Result<((), _), OperationError<std::io::Error>> = retry
        .run(&operation, |_| async { panic!("nothing is sent") })
        .await;
    let error = told.unwrap_err();
    let OperationError::KeyStore { source, .. } = &error else {
        panic!("{error}");
    };
    assert!(matches!(source, KeyStoreError::TimedOut(_)), "{source}");

    let mut holder = holder.unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(Some(begin(&store, "pay").await.key), key);
}

#[tokio::test]
async fn those_who_wait_for_the_lock_take_no_threads_from_others() {
    let place = Place::new();
    let store = place.open().await;
    let run = begin(&store, "pay").await;
    let mut holder = lock_holder(&place);
    // More than the runtime has threads for what blocks.
    let waiting = (0..600).map(|_| Box::pin(begin(&store, "pay")));
    let mut waiting: Vec<_> = waiting.collect();
    std::future::poll_fn(|context| {
        for begin in &mut waiting {
            assert!(begin.as_mut().poll(context).is_pending());
        }
        Poll::Ready(())
    })
    .await;
    let other = tokio::task::spawn_blocking(|| "done");
    let other = tokio::time::timeout(Duration::from_secs(10), other).await;
    assert_eq!(other.expect("it has a thread").unwrap(), "done");
    drop(waiting);
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(begin(&store, "pay").await.key, run.key);
}
