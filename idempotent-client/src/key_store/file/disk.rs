//! The file, and how it is changed as a whole.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Mutex, OwnedMutexGuard, oneshot},
    time::timeout,
};

use super::{
    super::{Entry, KeyStoreError},
    beside,
};

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    operations: BTreeMap<String, Entry>,
}

/// How long is waited for others who have the lock, or had it earlier in the queue.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long is waited where nothing else can be done meanwhile.
const PATIENCE_OF_A_THREAD: Duration = Duration::from_secs(1);

pub(super) struct Disk {
    path: PathBuf,
    /// One task of this process at a time: a file lock belongs to the file as it was opened here.
    lock: Arc<Mutex<File>>,
}

/// While it lives nobody else reads or writes.
pub(super) struct Lock {
    path: PathBuf,
    file: OwnedMutexGuard<File>,
}

impl Disk {
    pub(super) fn open(path: &Path) -> Result<Self, KeyStoreError> {
        // Renaming over a link would replace the link.
        let path = match fs::canonicalize(path) {
            Ok(path) => path,
            // It is the same file when the program has gone to another folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::path::absolute(path).map_err(|error| failed(path, "opened", error))?
            }
            Err(error) => return Err(failed(path, "opened", error)),
        };
        let lock = private(OpenOptions::new().create(true).truncate(false))
            .open(beside(&path, "lock"))
            .map_err(|error| failed(&path, "locked", error))?;
        Ok(Self {
            path,
            lock: Arc::new(Mutex::new(lock)),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the lock, but not for ever: a process that has it can be stopped.
    pub(super) async fn lock(&self) -> Result<Lock, KeyStoreError> {
        let locked = match timeout(PATIENCE, self.wait_for_lock()).await {
            Ok(locked) => locked,
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the lock was not free within {PATIENCE:?}"),
            )),
        };
        locked.map_err(|error| failed(&self.path, "locked", error))
    }

    async fn wait_for_lock(&self) -> io::Result<Lock> {
        let lock = Lock {
            path: self.path.clone(),
            file: Arc::clone(&self.lock).lock_owned().await,
        };
        if lock.take()? {
            return Ok(lock);
        }
        // A thread of its own, one at most for each store: those of the runtime are for others, and
        // the runtime would not end before them.
        let (sender, receiver) = oneshot::channel();
        thread::Builder::new()
            .name("key store lock".to_owned())
            .spawn(move || {
                let locked = lock.file.lock().map(|()| lock);
                // Where nobody waits any more, it is let go.
                let _ = sender.send(locked);
            })?;
        receiver.await.map_err(io::Error::other)?
    }

    /// The lock, if it can be had soon.
    pub(super) fn lock_soon(&self) -> Option<Lock> {
        let file = Arc::clone(&self.lock).try_lock_owned().ok()?;
        let path = self.path.clone();
        let lock = Lock { path, file };
        let started = Instant::now();
        while !lock.take().ok()? {
            if started.elapsed() > PATIENCE_OF_A_THREAD {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
        Some(lock)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The only way to fail is to have no lock.
        let _ = self.file.unlock();
    }
}

impl Lock {
    fn take(&self) -> io::Result<bool> {
        match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    pub(super) fn read(&self) -> Result<BTreeMap<String, Entry>, KeyStoreError> {
        let content = match fs::read(&self.path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(failed(&self.path, "read", error)),
        };
        // What is wrong, but not its text: that could be a key.
        let damaged = |reason| KeyStoreError::Damaged {
            path: self.path.clone(),
            reason,
        };
        let content: Content = serde_json::from_slice(&content).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            damaged(format!(
                "no key store's JSON at line {line}, column {column}"
            ))
        })?;
        if content.version != VERSION {
            let version = content.version;
            return Err(damaged(format!(
                "version {version}, this program knows {VERSION}"
            )));
        }
        Ok(content.operations)
    }

    /// The new content is on the disk when this returns, or the old one is.
    pub(super) fn write(
        &self,
        operations: &BTreeMap<String, Entry>,
        session: &str,
    ) -> Result<(), KeyStoreError> {
        #[derive(Serialize)]
        struct Content<'a> {
            version: u32,
            operations: &'a BTreeMap<String, Entry>,
        }

        let version = VERSION;
        let content = Content {
            version,
            operations,
        };
        let written = serde_json::to_vec_pretty(&content)
            .map_err(io::Error::other)
            .and_then(|content| {
                self.replace(&content, &beside(&self.path, &format!("{session}.tmp")))
            });
        written.map_err(|error| failed(&self.path, "written", error))
    }

    fn replace(&self, content: &[u8], temporary: &Path) -> io::Result<()> {
        let result = (|| {
            let mut file =
                private(OpenOptions::new().create(true).truncate(true)).open(temporary)?;
            file.write_all(content)?;
            file.sync_all()?;
            drop(file);
            fs::rename(temporary, &self.path)
        })();
        if result.is_err() {
            let _ = fs::remove_file(temporary);
        }
        result?;
        sync_folder(&self.path)
    }
}

/// For its owner's eyes only.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.read(true).write(true)
}

pub(super) fn failed(path: &Path, verb: &'static str, source: io::Error) -> KeyStoreError {
    let path = path.to_owned();
    KeyStoreError::Io { path, verb, source }
}

/// The rename itself must survive a power cut.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

/// Only on Unix can a folder be flushed.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
