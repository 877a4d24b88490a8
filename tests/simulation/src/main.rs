//! Simulates seeds, and prints what came of them.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use idempotent_simulation::{Mode, Report, Verdict, simulate};

const USAGE: &str = "\
usage: idempotent-simulation [OPTION …]

  --seeds N     how many seeds (1000)
  --from N      the first of them (1)
  --mode NAME   commit-in, refuse, rerun, calm or memory; by the seed unless given
  --seed N      one seed, and what happens in it
  --stop        end at the first seed that breaks a promise";

/// How many seeds that break a promise are printed.
const SHOWN: usize = 5;

#[derive(Debug)]
struct Options {
    first: u64,
    count: u64,
    mode: Option<Mode>,
    replays: bool,
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
            eprintln!("simulation: {mistake}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // Handlers panic on purpose.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic
            .payload_as_str()
            .is_some_and(|why| why.starts_with("on purpose"))
        {
            print(panic);
        }
    }));
    if options.replays {
        replay(&options)
    } else {
        run(&options)
    }
}

fn mode_of(options: &Options, seed: u64) -> Mode {
    options.mode.unwrap_or_else(|| Mode::of_seed(seed))
}

fn replay(options: &Options) -> ExitCode {
    let report = simulate(options.first, mode_of(options, options.first), true);
    print!("{}", report.history.as_deref().unwrap_or_default());
    println!("{}", line(&report));
    if report.is_kept() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run(options: &Options) -> ExitCode {
    let start = Instant::now();
    let next = AtomicU64::new(options.first);
    let end = options.first + options.count;
    let reports = Mutex::new(Vec::new());
    let is_over = AtomicBool::new(false);
    let threads = std::thread::available_parallelism().map_or(1, Into::into);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let report = simulate(seed, mode_of(options, seed), false);
                    if options.stops && !report.is_kept() {
                        is_over.store(true, Ordering::Relaxed);
                    }
                    reports.lock().expect("nothing panics with it").push(report);
                }
            });
        }
    });
    let mut reports = reports.into_inner().expect("nothing panics with it");
    reports.sort_by_key(|report| report.seed);
    println!(
        "{:10}{:>7}{:>12}{:>7}{:>6}{:>13}{:>10}{:>6}{:>12}",
        "mode",
        "seeds",
        "operations",
        "twice",
        "lost",
        "differently",
        "mistaken",
        "open",
        "simulated"
    );
    for mode in Mode::ALL {
        let its: Vec<_> = reports
            .iter()
            .filter(|report| report.mode == mode)
            .collect();
        if its.is_empty() {
            continue;
        }
        let mut all = Verdict::default();
        let mut simulated = 0;
        for report in &its {
            all += report.verdict;
            simulated += report.simulated.as_secs();
        }
        println!(
            "{:10}{:>7}{:>12}{:>7}{:>6}{:>13}{:>10}{:>6}{:>10} s",
            mode.name(),
            its.len(),
            all.operations,
            all.twice,
            all.lost,
            all.differently,
            all.mistaken,
            all.open,
            simulated
        );
    }
    let broken: Vec<_> = reports.iter().filter(|report| !report.is_kept()).collect();
    let mut trace = DefaultHasher::new();
    for report in &reports {
        report.trace.hash(&mut trace);
    }
    println!(
        "{} seeds in {:.1} s, {} of them broken (trace {:016x})",
        reports.len(),
        start.elapsed().as_secs_f64(),
        broken.len(),
        trace.finish()
    );
    for report in broken.iter().take(SHOWN) {
        println!("BROKEN: {}", line(report));
    }
    if broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn line(report: &Report) -> String {
    format!(
        "--seed {} --mode {}: {} (trace {:016x})",
        report.seed,
        report.mode.name(),
        report.verdict,
        report.trace
    )
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options {
        first: 1,
        count: 1000,
        mode: None,
        replays: false,
        stops: false,
    };
    while let Some(name) = arguments.next() {
        if name == "--help" || name == "-h" {
            return Ok(None);
        }
        if name == "--stop" {
            options.stops = true;
            continue;
        }
        let value = arguments.next().ok_or(format!("{name} has no value"))?;
        let number = || {
            value
                .parse()
                .map_err(|_| format!("{name} {value} is no number"))
        };
        match &*name {
            "--seeds" => options.count = number()?,
            "--from" => options.first = number()?,
            "--seed" => {
                options.first = number()?;
                options.replays = true;
            }
            "--mode" => {
                let mode = Mode::ALL.into_iter().find(|mode| mode.name() == value);
                options.mode = Some(mode.ok_or(format!("there is no mode {value}"))?);
            }
            _ => return Err(format!("{name} is not known")),
        }
    }
    Ok(Some(options))
}
