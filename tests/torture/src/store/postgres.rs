//! A PostgreSQL that is crashed in all the ways that it is made for.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command as Blocking, Stdio},
    time::Duration,
};

use fastrand::Rng;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStderr, Command},
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{PATIENCE, ended, free_address, signal};
use crate::{Failure, programs};

#[derive(Debug)]
pub(crate) struct Postgres {
    programs: PathBuf,
    data: PathBuf,
    owner: Option<Owner>,
    address: SocketAddr,
    child: Child,
    /// How often it said that it is ready.
    ready: watch::Receiver<u64>,
}

/// Whom PostgreSQL runs as: it refuses to run as root.
#[derive(Clone, Copy, Debug)]
struct Owner {
    user: u32,
    group: u32,
}

impl Postgres {
    pub(super) async fn start(scratch: &Path) -> Result<Self, Failure> {
        let programs = programs::postgres()?;
        let owner = owner()?;
        let folder = scratch.join("postgres");
        fs::create_dir(&folder)?;
        if let Some(Owner { user, group }) = owner {
            // Its owner has to pass through.
            fs::set_permissions(scratch, fs::Permissions::from_mode(0o711))?;
            chown(&folder, Some(user), Some(group))?;
        }
        let data = folder.join("data");
        let mut initdb = Command::new(programs.join("initdb"));
        initdb.arg("-D").arg(&data);
        initdb.args([
            "-U",
            "postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-sync",
        ]);
        let made = owned(&mut initdb, owner).output().await?;
        if !made.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
        let address = free_address()?;
        let (child, ready) = spawn(&programs, &data, owner, address)?;
        let mut postgres = Self {
            programs,
            data,
            owner,
            address,
            child,
            ready,
        };
        if !postgres.is_ready(0).await? {
            return Err("PostgreSQL does not start".into());
        }
        Ok(postgres)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn restart(&mut self, rng: &mut Rng) -> Result<(), Failure> {
        match rng.u32(..3) {
            // One of its processes is killed: it throws out all others, and recovers.
            0 => {
                let before = *self.ready.borrow();
                if self.kill_one(rng) {
                    let recovered = self.ready.wait_for(|times| *times > before);
                    // One that was about to end by itself is not missed.
                    match timeout(Duration::from_secs(3), recovered).await {
                        Ok(Err(_)) => return Err("PostgreSQL does not recover".into()),
                        Ok(Ok(_)) | Err(_) => return Ok(()),
                    }
                }
                signal(&self.child, Signal::KILL);
            }
            // As at a power cut, but for what the operating system keeps.
            1 => signal(&self.child, Signal::QUIT),
            _ => signal(&self.child, Signal::KILL),
        }
        ended(&mut self.child).await?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let (child, ready) = spawn(&self.programs, &self.data, self.owner, self.address)?;
            (self.child, self.ready) = (child, ready);
            if self.is_ready(0).await? {
                return Ok(());
            }
            // The processes of the one before are still there.
            sleep(Duration::from_millis(50)).await;
        }
        Err("PostgreSQL does not start again".into())
    }

    /// Waits until it is ready once more than `before`; `false` when it has ended instead.
    async fn is_ready(&mut self, before: u64) -> Result<bool, Failure> {
        let ready = timeout(PATIENCE, self.ready.wait_for(|times| *times > before)).await;
        match ready {
            Ok(ready) => Ok(ready.is_ok()),
            Err(_) => Err("PostgreSQL does not get ready".into()),
        }
    }

    /// Kills a process that serves a connection, or one of those that keep house.
    fn kill_one(&self, rng: &mut Rng) -> bool {
        let Some(id) = self.child.id() else {
            return false;
        };
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children: Vec<i32> = children
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|child| child.parse().ok())
            .collect();
        let Some(pid) = rng.choice(&children).copied().and_then(Pid::from_raw) else {
            return false;
        };
        kill_process(pid, Signal::KILL).is_ok()
    }
}

fn spawn(
    programs: &Path,
    data: &Path,
    owner: Option<Owner>,
    address: SocketAddr,
) -> Result<(Child, watch::Receiver<u64>), Failure> {
    let mut command = Command::new(programs.join("postgres"));
    command
        .arg("-D")
        .arg(data)
        .args(["-p", &address.port().to_string()])
        .args([
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "unix_socket_directories=",
        ])
        // What the operating system has outlives a SIGKILL; nobody cuts the power here.
        .args(["-c", "fsync=off", "-c", "max_connections=500"])
        // All that it leaves behind is in its folder.
        .args(["-c", "dynamic_shared_memory_type=mmap"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = owned(&mut command, owner).spawn()?;
    let (ready, is_ready) = watch::channel(0);
    let stderr = child.stderr.take().expect("it is piped");
    tokio::spawn(follow(stderr, ready));
    Ok((child, is_ready))
}

/// Reads the log to its end, because somebody must.
async fn follow(log: ChildStderr, ready: watch::Sender<u64>) {
    let mut lines = BufReader::new(log).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.contains("ready to accept connections") {
            ready.send_modify(|times| *times += 1);
        }
    }
}

fn owned(command: &mut Command, owner: Option<Owner>) -> &mut Command {
    command.current_dir("/").stdin(Stdio::null());
    match owner {
        Some(Owner { user, group }) => command.uid(user).gid(group),
        None => command,
    }
}

fn owner() -> Result<Option<Owner>, Failure> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let id = |which| -> Result<u32, Failure> {
        let said = Blocking::new("id").args([which, "postgres"]).output()?;
        let id = String::from_utf8(said.stdout)?;
        let id = id.trim().parse();
        Ok(id.map_err(|_| "PostgreSQL does not run as root, and there is no user `postgres`")?)
    };
    Ok(Some(Owner {
        user: id("-u")?,
        group: id("-g")?,
    }))
}
