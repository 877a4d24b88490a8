//! Floods a server of each framework with what clients send that mean harm, while a polite client
//! goes about its business, and looks at the server's memory.
//!
//! `README.md` beside this says what must hold, and shows what is printed.

mod floods;
mod http;
mod options;
mod polite;
mod process;
mod report;
mod run;
mod server;

use std::{error::Error, process::ExitCode};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::options::Options;

/// Why it could not be found out whether the promises are kept.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == "serve").is_some() {
        let Some(settings) = options::settings(arguments) else {
            return ExitCode::from(2);
        };
        return ended(server::serve(settings).map(|()| true));
    }
    match Options::from_arguments(arguments) {
        Ok(Some(options)) => ended(flood(&options)),
        Ok(None) => {
            println!("{}", options::USAGE);
            ExitCode::SUCCESS
        }
        Err(mistake) => {
            eprintln!("hostile: {mistake}\n\n{}", options::USAGE);
            ExitCode::from(2)
        }
    }
}

fn ended(outcome: Result<bool, Failure>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("hostile: {failure}");
            ExitCode::from(2)
        }
    }
}

/// Whether all promises were kept.
#[tokio::main]
async fn flood(options: &Options) -> Result<bool, Failure> {
    let open_files = raise_open_files()?;
    println!("{}", report::Header);
    let mut all_kept = true;
    for flood in &options.floods {
        for framework in &options.frameworks {
            let report = run::run(*framework, *flood, options, open_files).await?;
            println!("{report}");
            all_kept &= report.wrong.is_empty();
        }
    }
    println!("{}", if all_kept { "kept" } else { "BROKEN" });
    Ok(all_kept)
}

/// Takes what the system allows for this process, and so for the servers it starts.
fn raise_open_files() -> Result<usize, Failure> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(maximum.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    }))
}
