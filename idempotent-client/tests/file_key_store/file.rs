//! What is in the file, and who can read it.

use std::{fs, time::Duration};

use idempotent_client::{IdempotencyKey, KeyFate, KeyStore as _, RunOutcome};

use crate::{Place, begin, end};

#[tokio::test]
async fn a_run_is_in_the_file_before_anything_is_sent() {
    let place = Place::new();
    let store = place.open().await;
    let run = begin(&store, "pay").await;
    let written = fs::read_to_string(place.path()).unwrap();
    assert!(written.contains(run.key.as_str()));
    let fate = end(&store, &run, RunOutcome::Refused).await;
    assert_eq!(fate, KeyFate::GivenUp);
    let written = fs::read_to_string(place.path()).unwrap();
    assert!(!written.contains(run.key.as_str()));
    assert!(!format!("{store:?} {run:?}").contains(run.key.as_str()));
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let place = Place::new();
    let store = place.open().await;
    begin(&store, "pay").await;
    for name in place.files() {
        let file = fs::metadata(place.folder.path().join(&name)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600, "{name}");
    }
    // Also if it was otherwise before.
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o644)).unwrap();
    begin(&store, "pay").await;
    let file = fs::metadata(place.path()).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn what_is_done_leaves_the_file_when_its_key_expires() {
    let place = Place::new();
    let store = place.open().await;
    let ttl = Duration::ZERO;
    let run = store.begin("buy", IdempotencyKey::random(), ttl).await;
    let run = run.unwrap();
    store.end("buy", &run, RunOutcome::Done).await.unwrap();
    begin(&store, "pay").await;
    let written = fs::read_to_string(place.path()).unwrap();
    assert!(!written.contains("buy"), "{written}");
}
