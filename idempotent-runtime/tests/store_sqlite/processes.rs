//! Processes that share the file, or are killed in mid-write.
//!
//! A child is this very test program, asked for one ignored test and told the file by its
//! environment.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
};

use idempotent_runtime::{Store, store::ClaimAnswer};
use tokio::task::JoinSet;

use crate::{Folder, body_of, claim_of, opened, recorded, response};

const FILE: &str = "IDEMPOTENT_CHILD_FILE";

fn child(test: &str, file: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            test,
            "--exact",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(FILE, file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The numbers that a child has written so far, and writes until it ends. What is cut off counts
/// for nothing.
fn numbers(child: &mut Child) -> impl Iterator<Item = u64> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix('#')?.strip_suffix('.')?.parse().ok())
}

fn say(number: u64) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n#{number}.\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a child of `what_was_answered_survives_a_kill`"]
async fn writes_until_it_is_killed() {
    let Some(file) = std::env::var_os(FILE) else {
        return;
    };
    let store = opened(file.as_ref()).await;
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let store = store.clone();
        writers.spawn(async move {
            for number in 0..100_000 {
                let id = number * 8 + writer;
                recorded(&store, id).await;
                say(id);
            }
        });
    }
    writers.join_all().await;
}

#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    for kill in 1..=6 {
        let folder = Folder::new();
        let mut child = child("processes::writes_until_it_is_killed", &folder.file());
        let mut numbers = numbers(&mut child);
        let mut answered: HashSet<u64> = numbers.by_ref().take(37 * kill).collect();
        child.kill().unwrap(); // SIGKILL
        answered.extend(numbers);
        child.wait().unwrap();
        assert!(answered.len() >= 37 * kill);
        let store = opened(&folder.file()).await;
        for id in &answered {
            assert_eq!(
                body_of(&store, *id).await,
                Some(response(&id.to_string())),
                "{id}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a child of `of_rival_processes_one_is_granted`"]
async fn claims_what_it_can() {
    let Some(file) = std::env::var_os(FILE) else {
        return;
    };
    let store = opened(file.as_ref()).await;
    for id in 0..300 {
        if store.claim(&claim_of(id)).await.unwrap() == ClaimAnswer::Claimed {
            say(id);
        }
    }
}

#[test]
fn of_rival_processes_one_is_granted() {
    let folder = Folder::new();
    let mut children: Vec<_> = (0..3)
        .map(|_| child("processes::claims_what_it_can", &folder.file()))
        .collect();
    let mut granted: Vec<u64> = Vec::new();
    for child in &mut children {
        granted.extend(numbers(child));
        assert!(child.wait().unwrap().success());
    }
    granted.sort_unstable();
    assert!(granted.iter().copied().eq(0..300), "{granted:?}");
}
