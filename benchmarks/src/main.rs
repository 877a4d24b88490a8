//! This framework beside the published ones. `benchmarks/run` measures all of them in one run and
//! writes `benchmarks/RESULTS.md`, the plot, and the table in the README.

mod apps;
mod build_time;
mod child;
mod duplicates;
mod growth;
mod http;
mod in_process;
mod load;
mod payment;
mod plot;
mod ratios;
mod report;
mod serve;
mod system;

use std::{env, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::{growth::Growth, report::Results, system::System};

const SERVERS: usize = 0;
const CLIENT: usize = 1;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let system = |name| System::named(name).with_context(|| format!("no system is named {name}"));
    match *arguments {
        // How the measurement starts its own processes.
        ["serve", name] => {
            stay_on(SERVERS)?;
            child::end_with_parent();
            serve::serve(system(name)?)
        }
        ["growth", name] => {
            stay_on(CLIENT)?;
            child::end_with_parent();
            println!("{}", growth::measure_here(system(name)?));
            Ok(())
        }
        ["measure", when] => {
            stay_on(CLIENT)?;
            let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
            report::write(&measure(when)?, &root)
        }
        _ => bail!("usage: idempotent-benchmarks measure \"WHEN AND WHERE\""),
    }
}

fn measure(when: &str) -> Result<Results> {
    eprintln!("in process …");
    let in_process = ratios::measure();
    let (http, duplicates) = runtime().block_on(async {
        let mut servers = Vec::new();
        for system in System::ALL {
            servers.push(http::Server::start(system).await?);
        }
        eprintln!("16 duplicates at once …");
        let duplicates = duplicates::measure(&mut servers).await?;
        eprintln!("over HTTP …");
        anyhow::Ok((http::measure(&mut servers).await?, duplicates))
    })?;
    let mut growth: Vec<(System, Growth)> = Vec::new();
    for system in System::ALL {
        if !system.is_bare() {
            eprintln!("live keys of {} …", system.argument());
            growth.push((system, growth::measure(system)?));
        }
    }
    Ok(Results {
        when: when.to_owned(),
        in_process,
        http,
        duplicates,
        growth,
        build_time: build_time::read()?,
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Keeps this process, and the threads that it is going to start, on one core.
fn stay_on(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores)
        .with_context(|| format!("core {core} is not there: this needs a machine with two"))
}
