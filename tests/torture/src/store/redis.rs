//! A Redis that keeps what it confirms.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::{PATIENCE, ended, free_address};
use crate::{Failure, programs};

#[derive(Debug)]
pub(crate) struct Redis {
    program: PathBuf,
    folder: PathBuf,
    address: SocketAddr,
    child: Child,
}

impl Redis {
    pub(super) async fn start(scratch: &Path) -> Result<Self, Failure> {
        let program = programs::redis()?;
        let folder = scratch.join("redis");
        std::fs::create_dir(&folder)?;
        let address = free_address()?;
        let child = spawn(&program, &folder, address)?;
        let redis = Self {
            program,
            folder,
            address,
            child,
        };
        redis.wait().await?;
        Ok(redis)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn restart(&mut self) -> Result<(), Failure> {
        self.child.start_kill()?;
        ended(&mut self.child).await?;
        self.child = spawn(&self.program, &self.folder, self.address)?;
        self.wait().await
    }

    /// Without memory it takes no more, and forgets nothing.
    pub(super) async fn fill(&self, full: bool) -> Result<(), Failure> {
        let limit = if full { "1mb" } else { "0" };
        let said = ask(self.address, &format!("CONFIG SET maxmemory {limit}")).await?;
        if said == "+OK" {
            Ok(())
        } else {
            Err(format!("Redis says {said}").into())
        }
    }

    async fn wait(&self) -> Result<(), Failure> {
        let answers = async {
            while !matches!(ask(self.address, "PING").await, Ok(said) if said == "+PONG") {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let started = timeout(PATIENCE, answers).await;
        Ok(started.map_err(|_| "Redis does not start")?)
    }
}

fn spawn(program: &Path, folder: &Path, address: SocketAddr) -> Result<Child, Failure> {
    let port = address.port().to_string();
    let child = Command::new(program)
        .args(["--port", &port, "--bind", "127.0.0.1", "--dir"])
        .arg(folder)
        // What it confirmed is there after a SIGKILL, and after a power cut.
        .args([
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ])
        .args(["--maxmemory-policy", "noeviction"])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    Ok(child.map_err(|error| format!("{}: {error}", program.display()))?)
}

/// Sends a command as a line, and gives the first line of what is said.
async fn ask(address: SocketAddr, command: &str) -> Result<String, Failure> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(format!("{command}\r\n").as_bytes())
        .await?;
    let mut said = String::new();
    BufReader::new(stream).read_line(&mut said).await?;
    Ok(said.trim_end().to_owned())
}
