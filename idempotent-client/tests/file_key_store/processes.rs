//! Several processes, some of which are killed.

use std::fs;

use idempotent_client::{FileKeyStore, KeyFate, KeyStore as _, KeyStoreError, RunOutcome};

use crate::{Place, STORE, another_process, begin, end, says, until_killed};

#[tokio::test]
#[ignore = "is what another process of these tests does"]
async fn begins_runs() {
    let Ok(path) = std::env::var(STORE) else {
        return;
    };
    let store = FileKeyStore::open(path).await.unwrap();
    for number in 0..50 {
        let run = begin(&store, &format!("of one {number}")).await;
        let name = format!("of one {number}");
        store.end(&name, &run, RunOutcome::Uncertain).await.unwrap();
    }
    begin(&store, "pay").await;
    println!("a run is out");
    until_killed();
}

#[tokio::test]
async fn processes_share_the_file_and_one_that_dies_leaves_its_run_uncertain() {
    let place = Place::new();
    let store = place.open().await;
    let mut others = [
        another_process("processes::begins_runs", &place.path()),
        another_process("processes::begins_runs", &place.path()),
    ];
    for other in &mut others {
        says(other, "a run is out");
    }
    let content = fs::read_to_string(place.path()).unwrap();
    assert_eq!(content.matches("of one").count(), 50, "no change was lost");

    let own = begin(&store, "pay").await;
    assert_eq!(end(&store, &own, RunOutcome::Done).await, KeyFate::Kept);
    let error = store.forget("pay").await.unwrap_err();
    assert!(matches!(error, KeyStoreError::Running { .. }), "{error}");
    for mut other in others {
        other.kill().unwrap();
        other.wait().unwrap();
    }
    let again = begin(&store, "pay").await;
    assert_eq!(again.key, own.key, "the one that was killed does not know");
    assert_eq!(
        end(&store, &again, RunOutcome::Refused).await,
        KeyFate::Kept
    );
    assert_eq!(sessions(&place), 1, "those of the dead are gone");
}

#[tokio::test]
#[ignore = "is what another process of these tests does"]
async fn is_done() {
    let Ok(path) = std::env::var(STORE) else {
        return;
    };
    let store = FileKeyStore::open(path).await.unwrap();
    let run = begin(&store, "pay").await;
    end(&store, &run, RunOutcome::Done).await;
    println!("it is done");
    until_killed();
}

#[tokio::test]
async fn a_process_that_is_killed_before_it_notes_the_outcome_gets_it_again() {
    let place = Place::new();
    let mut killed = another_process("processes::is_done", &place.path());
    says(&mut killed, "it is done");
    killed.kill().unwrap();
    killed.wait().unwrap();
    let written = fs::read_to_string(place.path()).unwrap();
    let store = place.open().await;
    let again = begin(&store, "pay").await;
    assert!(written.contains(again.key.as_str()), "the same key");
    end(&store, &again, RunOutcome::Done).await;
    assert!(store.forget("pay").await.unwrap());
    assert_ne!(begin(&store, "pay").await.key, again.key);
}

#[tokio::test]
async fn what_the_dead_left_behind_is_removed_when_the_store_is_opened() {
    let place = Place::new();
    let mut idle = another_process("processes::is_done", &place.path());
    says(&mut idle, "it is done");
    let store = place.open().await;
    assert_eq!(sessions(&place), 2, "a living one stays");
    idle.kill().unwrap();
    idle.wait().unwrap();
    drop(store);
    let half_written = "keys.json.b4dff1c8-54a5-4cd9-8c2a-5e45c5f4b34b.tmp";
    let of_others = ["keys.json.backup.tmp", "other.json.session"];
    for name in of_others.iter().chain([&half_written]) {
        fs::write(place.folder.path().join(name), "key").unwrap();
    }
    let store = place.open().await;
    assert_eq!(sessions(&place), 1);
    drop(store);
    let [backup, other] = of_others;
    let expected = [backup, "keys.json", "keys.json.lock", other];
    let files = place.files();
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(files, expected);
}

/// How many processes have the store open, by its files.
fn sessions(place: &Place) -> usize {
    let files = place.files().into_iter();
    let own = files.filter(|name| name.starts_with("keys.json.") && name.ends_with(".session"));
    own.count()
}
