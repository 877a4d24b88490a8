//! Keys in a file: several tasks, several processes, damage.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    task::Poll,
    time::Duration,
};

use idempotent_client::{
    Answer, FileKeyStore, IdempotencyKey, KeyFate, KeyStore as _, KeyStoreError, Operation,
    OperationError, Retry, RunOutcome, Verdict, key_store::Run,
};
use tempfile::TempDir;

const TTL: Duration = Duration::from_hours(1);

/// Tells a process of this test which store to use.
const STORE: &str = "KEY_STORE_OF_ANOTHER_PROCESS";

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("keys.json")
    }

    async fn open(&self) -> FileKeyStore {
        FileKeyStore::open(self.path()).await.unwrap()
    }

    fn files(&self) -> Vec<String> {
        let files = fs::read_dir(self.folder.path()).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

async fn begin(store: &FileKeyStore, name: &str) -> Run {
    let begun = store.begin(name, IdempotencyKey::random(), TTL).await;
    begun.unwrap()
}

async fn end(store: &FileKeyStore, run: &Run, outcome: RunOutcome) -> KeyFate {
    store.end("pay", run, outcome).await.unwrap()
}

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
async fn damage_is_told_and_nothing_is_replaced() {
    let key = IdempotencyKey::random();
    let unknown = format!(
        r#"{{"version":2,"operations":{{"pay":{{"key":"{}"}}}}}}"#,
        key.as_str()
    );
    for damaged in [
        "",
        "{",
        "[]",
        &unknown,
        r#"{"version":1,"operations":{"a":{"key":"k"}}}"#,
    ] {
        let place = Place::new();
        let store = place.open().await;
        fs::write(place.path(), damaged).unwrap();
        let errors = [
            store.begin("pay", key.clone(), TTL).await.unwrap_err(),
            FileKeyStore::open(place.path()).await.unwrap_err(),
            store.forget("pay").await.unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, KeyStoreError::Damaged { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains("Restore it from a backup"), "{text}");
            assert!(!text.contains(key.as_str()), "{text}");
        }
        assert_eq!(fs::read_to_string(place.path()).unwrap(), damaged);
    }
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_told() {
    let place = Place::new();
    let path = place.folder.path().join("missing/keys.json");
    let error = FileKeyStore::open(&path).await.unwrap_err();
    assert!(matches!(error, KeyStoreError::Io { .. }), "{error}");
    assert!(error.to_string().contains("missing/keys.json"), "{error}");
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

/// Another process, which is this test's own program with one of its tests.
fn another_process(does: &str, store: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", does, "--ignored", "--nocapture"])
        .env(STORE, store)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn says(child: &mut Child, what: &str) {
    use std::io::{BufRead as _, BufReader};

    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let said = lines.any(|line| line.unwrap().contains(what));
    assert!(said, "the other process says {what}");
}

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

/// Or until whoever started this process is gone.
fn until_killed() {
    std::io::stdin().lines().for_each(drop);
}

#[tokio::test]
async fn processes_share_the_file_and_one_that_dies_leaves_its_run_uncertain() {
    let place = Place::new();
    let store = place.open().await;
    let mut others = [
        another_process("begins_runs", &place.path()),
        another_process("begins_runs", &place.path()),
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
    let mut killed = another_process("is_done", &place.path());
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
    let mut holder = another_process("holds_the_lock", &place.path());
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

#[tokio::test]
async fn what_the_dead_left_behind_is_removed_when_the_store_is_opened() {
    let place = Place::new();
    let mut idle = another_process("is_done", &place.path());
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
