//! Where the programs are that are started here.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{Failure, options::Options};

const APPLICATIONS: [&str; 2] = ["axum-payments", "actix-payments"];

/// The applications, as they were when this started.
#[derive(Debug)]
pub(crate) struct Programs {
    applications: [PathBuf; 2],
    _folder: TempDir,
}

impl Programs {
    /// Builds the applications as this program is built, unless they are somewhere. They are copied,
    /// so that a build meanwhile does not change what is started.
    pub(crate) fn find(options: &Options) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let built = match &options.programs {
            Some(folder) => folder.clone(),
            None => build()?,
        };
        let mut applications = APPLICATIONS.map(|name| folder.path().join(name));
        for (name, copy) in APPLICATIONS.iter().zip(&mut applications) {
            let program = built.join(name);
            fs::copy(&program, copy).map_err(|error| format!("{}: {error}", program.display()))?;
        }
        Ok(Self {
            applications,
            _folder: folder,
        })
    }

    /// One of the two: they take turns.
    pub(crate) fn application(&self, turn: usize) -> &Path {
        &self.applications[turn % 2]
    }
}

fn build() -> Result<PathBuf, Failure> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "-q", "--locked"])
        .args((!cfg!(debug_assertions)).then_some("--release"))
        .args(APPLICATIONS.iter().flat_map(|name| ["-p", name]))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    if !built.success() {
        return Err("the applications cannot be built".into());
    }
    let this = env::current_exe()?;
    let folder = this.parent().ok_or("this program is in no folder")?;
    Ok(folder.to_owned())
}

/// `REDIS_SERVER`, or one that is installed.
pub(crate) fn redis() -> Result<PathBuf, Failure> {
    if let Some(program) = env::var_os("REDIS_SERVER").filter(|program| !program.is_empty()) {
        return Ok(program.into());
    }
    let found = in_path("redis-server").or_else(|| in_path("valkey-server"));
    Ok(found.ok_or("install redis-server, or set REDIS_SERVER; tests/run does")?)
}

/// The folder of PostgreSQL's server programs: `POSTGRES_PROGRAMS`, or one that is installed.
pub(crate) fn postgres() -> Result<PathBuf, Failure> {
    if let Some(folder) = env::var_os("POSTGRES_PROGRAMS").filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    let beside = in_path("postgres").and_then(|program| Some(program.parent()?.to_owned()));
    let mut folders: Vec<PathBuf> = beside.into_iter().chain(pg_config()).collect();
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .collect();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    let mut found = folders
        .into_iter()
        .filter(|folder| folder.join("initdb").exists() && folder.join("postgres").exists());
    Ok(found.next().ok_or(
        "install postgresql (tests/run does), or set POSTGRES_PROGRAMS to the folder of its \
         server programs",
    )?)
}

fn pg_config() -> Option<PathBuf> {
    let said = Command::new("pg_config")
        .arg("--bindir")
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let folder = String::from_utf8(said.stdout).ok()?;
    Some(folder.trim().into())
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|program| program.exists())
}
