//! Checks every configuration, and prints how many states there are.

use std::{process::ExitCode, time::Instant};

use idempotent_model::{Configuration, Protocol, Size, configurations};
use stateright::{Checker, Expectation, HasDiscoveries, Model};

const USAGE: &str = "\
usage: idempotent-model [--large] [--only NAME]

  --large      one request more: minutes, and gigabytes of memory
  --only NAME  the configurations whose name has this in it
  --stop       end at the first configuration in which something does not hold";

struct Options {
    size: Size,
    only: String,
    stops: bool,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            eprintln!("model: {mistake}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let start = Instant::now();
    println!(
        "{:36}{:>12}{:>12}{:>7}{:>9}",
        "configuration", "states", "unique", "depth", "seconds"
    );
    let chosen = configurations(options.size)
        .into_iter()
        .filter(|configuration| configuration.name.contains(&options.only));
    let mut all = Seen::default();
    for configuration in chosen {
        let seen = check(configuration);
        all.states += seen.states;
        all.unique += seen.unique;
        all.broken += seen.broken;
        if options.stops && all.broken > 0 {
            break;
        }
    }
    println!(
        "{:36}{:>12}{:>12}{:>7}{:>9.1}",
        "all",
        all.states,
        all.unique,
        "",
        start.elapsed().as_secs_f64()
    );
    match (all.states, all.broken) {
        (0, _) => {
            eprintln!("model: no configuration has {} in its name", options.only);
            ExitCode::from(2)
        }
        (_, 0) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// What was looked at, and how many properties do not hold.
#[derive(Default)]
struct Seen {
    states: usize,
    unique: usize,
    broken: usize,
}

/// Checks one configuration, and prints what comes of it.
fn check(configuration: Configuration) -> Seen {
    let start = Instant::now();
    let name = configuration.name;
    let threads = std::thread::available_parallelism().map_or(1, Into::into);
    let checker = Protocol::new(configuration)
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let mut seen = Seen {
        states: checker.state_count(),
        unique: checker.unique_state_count(),
        broken: 0,
    };
    println!(
        "{name:36}{:>12}{:>12}{:>7}{:>9.1}",
        seen.states,
        seen.unique,
        checker.max_depth(),
        start.elapsed().as_secs_f64()
    );
    for property in checker.model().properties() {
        if let (Expectation::Always, Some(path)) =
            (property.expectation, checker.discovery(property.name))
        {
            seen.broken += 1;
            println!("  BROKEN: {}\n{path}", property.name);
            println!("{:?}", path.last_state());
        }
    }
    // What is broken ends the search, and not everything is seen then.
    if seen.broken == 0 {
        for property in checker.model().properties() {
            if checker.discovery(property.name).is_none()
                && property.expectation == Expectation::Sometimes
            {
                seen.broken += 1;
                println!("  NEVER: {}", property.name);
            }
        }
    }
    seen
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options {
        size: Size::Small,
        only: String::new(),
        stops: false,
    };
    while let Some(name) = arguments.next() {
        match &*name {
            "--help" | "-h" => return Ok(None),
            "--stop" => options.stops = true,
            "--large" => options.size = Size::Large,
            "--only" => options.only = arguments.next().ok_or("--only has no value")?,
            _ => return Err(format!("{name} is not known")),
        }
    }
    Ok(Some(options))
}
