//! Keys in a file: several tasks, several processes, damage.

#![allow(clippy::unwrap_used)]

mod damage;
mod file;
mod lock;
mod processes;
mod runs;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use idempotent_client::{
    FileKeyStore, IdempotencyKey, KeyFate, KeyStore as _, RunOutcome, key_store::Run,
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

/// Or until whoever started this process is gone.
fn until_killed() {
    std::io::stdin().lines().for_each(drop);
}
