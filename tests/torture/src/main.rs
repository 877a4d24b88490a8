//! Tortures the example applications: several servers on one store, hundreds of clients that retry,
//! and every fault at once. When it is over, the ledger is compared with what the clients were told.
//!
//! `README.md` beside this says what is promised in which mode, and shows what is printed.

mod client;
mod faults;
mod fleet;
mod http;
mod mode;
mod operation;
mod options;
mod programs;
mod proxy;
mod report;
mod run;
mod store;
mod tally;
mod verdict;

use std::{error::Error, process::ExitCode, sync::Arc};

use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::{options::Options, programs::Programs};

/// Why it could not be found out whether the promises are kept.
type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Options::from_arguments(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            eprintln!("torture: {mistake}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let outcome = tokio::select! {
        outcome = torture(&options) => outcome,
        // The servers end with their handles.
        () = asked_to_stop() => return ExitCode::from(130),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("torture: {failure}");
            ExitCode::from(2)
        }
    }
}

/// Whether all promises were kept.
async fn torture(options: &Options) -> Result<bool, Failure> {
    // Servers crash on purpose; that need leave nothing behind.
    let nothing = Some(0);
    setrlimit(
        Resource::Core,
        Rlimit {
            current: nothing,
            maximum: nothing,
        },
    )?;
    let programs = Arc::new(Programs::find(options)?);
    let mut reports = Vec::new();
    for mode in &options.modes {
        let report = run::run(*mode, options, &programs).await?;
        print!("{report}");
        reports.push(report);
    }
    println!("{}", report::Table(&reports));
    Ok(reports.iter().all(|report| report.verdict.is_kept()))
}

async fn asked_to_stop() {
    let both = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    if let (Ok(mut interrupt), Ok(mut terminate)) = both {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    } else {
        std::future::pending::<()>().await;
    }
}
