//! One flood against one server.

use std::time::{Duration, Instant};

use crate::{
    Failure,
    floods::Flood,
    options::{Broken, Framework, Options},
    polite::{Experience, Polite},
    process::Server,
    report::Report,
    server::{Ledger, Settings},
};

/// What a server may grow by whatever is sent to it: code that is used for the first time, stacks,
/// and what its allocator keeps for the next time.
pub(crate) const ALLOWANCE: u64 = 24 << 20;
/// A machine may be slow; a client that waits for longer than this waits for others.
const LONGEST: Duration = Duration::from_secs(10);
/// What connections need beside those of a flood.
const OTHER_FILES: usize = 200;

pub(crate) async fn run(
    framework: Framework,
    flood: Flood,
    options: &Options,
    open_files: usize,
) -> Result<Report, Failure> {
    let mut scale = flood.scale(options.short);
    let room = open_files.saturating_sub(OTHER_FILES);
    if scale.connections > room {
        eprintln!("hostile: only {room} connections, because no more files may be open");
        scale.requests = scale
            .requests
            .min(scale.requests * room / scale.connections);
        scale.connections = room;
    }
    let server = Server::start(Settings {
        framework,
        budget: match options.broken {
            Some(Broken::Budget) => scale.budget * 16,
            _ => scale.budget,
        },
        protected: options.broken != Some(Broken::Unprotected),
    })
    .await?;
    let mut wrong = Vec::new();
    let polite = Polite::start(server.address).await?;
    server.forget_peak()?;
    let before = server.memory()?.now;
    let started = Instant::now();
    let told = flood.flood(&server, scale).await?;
    let took = started.elapsed();
    let ledger = server.idle().await?;
    let peak = server.memory()?.peak;
    let experience = polite.stop();
    let ledger = Ledger {
        bytes: ledger.bytes,
        entries: ledger.entries,
        ..server.idle().await?
    };
    let after = server.memory()?.now;

    let allowed = scale.budget + ALLOWANCE + flood.per_connection() * scale.connections as u64;
    if peak.saturating_sub(before) > allowed {
        wrong.push("more memory than is allowed".to_owned());
    }
    if ledger.bytes > scale.budget {
        wrong.push("the store has taken more than its budget".to_owned());
    }
    if ledger.twice > 0 {
        wrong.push(format!("{} operations were done twice", ledger.twice));
    }
    wrong.extend(flood.check(scale, &told, &ledger).err());
    let experience = experience.unwrap_or_else(|failure| {
        wrong.push(failure.to_string());
        Experience::default()
    });
    wrong.extend(check_polite(flood, &experience, &ledger));
    Ok(Report {
        framework,
        flood,
        scale,
        told,
        took,
        before,
        peak,
        after,
        allowed,
        ledger,
        experience,
        wrong,
    })
}

fn check_polite(flood: Flood, experience: &Experience, ledger: &Ledger) -> Option<String> {
    let Experience { done, refused, .. } = *experience;
    if done != ledger.polite {
        let effects = ledger.polite;
        return Some(format!(
            "the polite client was told of {done} of {effects} effects"
        ));
    }
    if refused > 0 && !flood.fills() {
        return Some(format!("the polite client was refused {refused} times"));
    }
    let longest = experience.quantile(1.0);
    (longest > LONGEST).then(|| format!("the polite client waited for {longest:?}"))
}
