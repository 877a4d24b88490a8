//! All that was kept is given to its target again, and so are changed copies of it: what libFuzzer
//! found stays found, wherever there is no libFuzzer.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use idempotent_fuzz::{TARGETS, Target};

/// How many changed copies of each input.
const COPIES: usize = 40;

/// The inputs of a target.
fn kept(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let mut kept: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    kept.sort();
    kept
}

/// A copy in which some bytes are others, missing, or there twice, or which ends as another does.
fn changed(random: &mut fastrand::Rng, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut copy = input.to_vec();
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..=copy.len());
        let end = (at + random.usize(..8)).min(copy.len());
        match random.u8(..4) {
            0 => copy[at..end].fill_with(|| random.u8(..)),
            1 => drop(copy.drain(at..end)),
            2 => {
                let twice = copy[at..end].to_vec();
                copy.splice(at..at, twice);
            }
            _ => {
                copy.truncate(at);
                copy.extend_from_slice(&other[random.usize(..=other.len())..]);
            }
        }
    }
    copy
}

/// Tells of the input that a target panics on.
struct Given<'a> {
    file: &'a str,
    input: &'a [u8],
}

impl Drop for Given<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "{}, maybe changed: {}",
                self.file,
                self.input.escape_ascii()
            );
        }
    }
}

fn replay(name: &str) {
    let kept = kept(name);
    assert!(kept.len() > 10, "a corpus of {}", kept.len());
    let target: Target = TARGETS
        .into_iter()
        .find(|(known, _)| *known == name)
        .unwrap()
        .1;
    for (file, input) in &kept {
        let _told = Given { file, input };
        target(input);
    }
    let mut random = fastrand::Rng::with_seed(1);
    for (file, input) in &kept {
        for _ in 0..COPIES {
            let other = &kept[random.usize(..kept.len())].1;
            let copy = changed(&mut random, input, other);
            let input = &copy[..];
            let _told = Given { file, input };
            target(input);
        }
    }
}

macro_rules! replays {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            replay(stringify!($name));
        }
    )*

        #[test]
        fn every_target_is_given_its_corpus() {
            let replayed = [$(stringify!($name)),*];
            assert!(TARGETS.iter().map(|(name, _)| *name).eq(replayed));
        }
    };
}

replays!(key record literals attribute problem identity axum actix);
