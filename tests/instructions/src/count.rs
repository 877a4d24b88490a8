//! This program, run by valgrind.

use std::{
    env,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::Path;

const TIMES: u64 = 2_000;

/// Of one time through the path: what so many more times take more. So nothing counts of how the
/// program starts, and of what the first times through set up.
pub(crate) fn instructions_of(path: &Path) -> Result<u64> {
    let [few, many] = thread::scope(|scope| {
        [TIMES, 2 * TIMES]
            .map(|times| scope.spawn(move || total(path, times)))
            .map(|counted| {
                counted
                    .join()
                    .map_err(|_| anyhow!("a count has panicked"))?
            })
            .map(|total| total.with_context(|| format!("the instructions of {}", path.name)))
    });
    let more = many?
        .checked_sub(few?)
        .context("more times took fewer instructions")?;
    Ok(more / TIMES)
}

fn total(path: &Path, times: u64) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().context("this program's path")?)
        .args(["run", path.name, &times.to_string()])
        // glibc has a memcpy for each sort of processor. Take the one that all of them have.
        .env(
            "GLIBC_TUNABLES",
            "glibc.cpu.hwcaps=-AVX2,-AVX,-AVX512F,-AVX512VL,-ERMS,-FSRM",
        )
        .stdin(Stdio::null())
        .output()
        .context("valgrind does not start; it is in the package `valgrind`")?;
    let log = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{log}");
    collected(&log).with_context(|| format!("valgrind has not said what it counted: {log}"))
}

fn collected(log: &str) -> Option<u64> {
    let line = log
        .lines()
        .find_map(|line| line.split_once("Collected :"))?;
    line.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_among_what_valgrind_says() {
        let log = "==7== Events    : Ir\n==7== Collected : 66311621\n==7==\n";
        assert_eq!(collected(log), Some(66_311_621));
        assert_eq!(collected("==7== Events    : Ir\n"), None);
    }
}
