//! A server's process, and how much memory it has.

use std::{fs, net::SocketAddr, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    time::{Instant, sleep},
};

use crate::{
    Failure,
    http::Connection,
    server::{Ledger, Settings},
};

/// A server that is running. It ends when this is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    child: Child,
    /// It serves for as long as this is open.
    _stdin: Option<ChildStdin>,
}

/// Resident memory, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) now: u64,
    pub(crate) peak: u64,
}

impl Server {
    pub(crate) async fn start(settings: Settings) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .arg(settings.framework.name())
            .arg(settings.budget.to_string())
            .arg(settings.protected.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("it has an output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        let address = line.trim().parse();
        Ok(Self {
            address: address.map_err(|_| "the server did not start")?,
            _stdin: child.stdin.take(),
            child,
        })
    }

    /// What has happened in it.
    pub(crate) async fn ledger(&self) -> Result<Ledger, Failure> {
        let mut connection = Connection::open(self.address).await?;
        let request = b"GET /ledger HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let answer = connection.ask(request).await?;
        Ok(serde_json::from_slice(&answer.body)?)
    }

    /// Waits until no handler is running in it.
    pub(crate) async fn idle(&self) -> Result<Ledger, Failure> {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let ledger = self.ledger().await?;
            if ledger.running == 0 {
                return Ok(ledger);
            }
            if Instant::now() > deadline {
                return Err(format!("{} handlers go on running", ledger.running).into());
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets all handlers go on that are held.
    pub(crate) async fn open_gate(&self) -> Result<(), Failure> {
        let mut connection = Connection::open(self.address).await?;
        let request = b"POST /open HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
        match connection.ask(request).await?.status {
            200 => Ok(()),
            status => Err(format!("the gate stays shut: {status}").into()),
        }
    }

    pub(crate) fn memory(&self) -> Result<Memory, Failure> {
        let status = fs::read_to_string(self.file("status")?)?;
        let named = |name: &str| -> Result<u64, Failure> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
            let kilobytes = kilobytes.ok_or_else(|| format!("the system does not tell {name}"))?;
            Ok(kilobytes.parse::<u64>()? << 10)
        };
        Ok(Memory {
            now: named("VmRSS:")?,
            peak: named("VmHWM:")?,
        })
    }

    /// Takes what it has now for the peak.
    pub(crate) fn forget_peak(&self) -> Result<(), Failure> {
        Ok(fs::write(self.file("clear_refs")?, "5")?)
    }

    fn file(&self, name: &str) -> Result<String, Failure> {
        let id = self.child.id().ok_or("the server has ended")?;
        Ok(format!("/proc/{id}/{name}"))
    }
}
