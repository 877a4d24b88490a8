//! Checks every configuration, and prints how many states there are.

use std::{process::ExitCode, time::Instant};

use idempotent_model::{Protocol, Size, configurations};
use stateright::{Checker, Model};

const USAGE: &str = "\
usage: idempotent-model [--large] [--only NAME]

  --large      more requests and faults: minutes, and gigabytes of memory
  --only NAME  the configurations whose name has this in it";

fn main() -> ExitCode {
    let mut size = Size::Small;
    let mut only = String::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (&*argument, &*argument == "--only") {
            ("--large", _) => size = Size::Large,
            (_, true) => only = arguments.next().unwrap_or_default(),
            ("--help" | "-h", _) => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            _ => {
                eprintln!("model: {argument} is not known\n\n{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    println!(
        "{:36}{:>12}{:>12}{:>7}{:>9}",
        "configuration", "states", "unique", "depth", "seconds"
    );
    let threads = std::thread::available_parallelism().map_or(1, Into::into);
    let mut is_kept = true;
    let (mut states, mut unique) = (0, 0);
    let start = Instant::now();
    for configuration in configurations(size) {
        if !configuration.name.contains(&only) {
            continue;
        }
        let name = configuration.name;
        let began = Instant::now();
        let checker = Protocol::new(configuration)
            .checker()
            .threads(threads)
            .spawn_bfs()
            .join();
        states += checker.state_count();
        unique += checker.unique_state_count();
        println!(
            "{name:36}{:>12}{:>12}{:>7}{:>9.1}",
            checker.state_count(),
            checker.unique_state_count(),
            checker.max_depth(),
            began.elapsed().as_secs_f64()
        );
        for property in checker.model().properties() {
            let expectation = &property.expectation;
            let discovery = checker.discovery(property.name);
            match (expectation, discovery) {
                (stateright::Expectation::Sometimes, None) => {
                    is_kept = false;
                    println!("  NEVER: {}", property.name);
                }
                (stateright::Expectation::Sometimes, Some(_)) | (_, None) => {}
                (_, Some(path)) => {
                    is_kept = false;
                    println!("  BROKEN: {}\n{path}", property.name);
                    println!("  {:?}", path.last_state());
                }
            }
        }
    }
    println!(
        "{:36}{states:>12}{unique:>12}{:>7}{:>9.1}",
        "all",
        "",
        start.elapsed().as_secs_f64()
    );
    if is_kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
