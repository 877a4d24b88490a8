//! The file, and how it is changed as a whole.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

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

pub(super) struct Disk {
    path: PathBuf,
    /// One task of this process at a time: a file lock belongs to the file as it was opened here.
    lock: Mutex<File>,
}

/// Nobody else reads or writes.
pub(super) struct Locked<'a> {
    path: &'a Path,
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
            lock: Mutex::new(lock),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn locked<T>(
        &self,
        work: impl FnOnce(&Locked<'_>) -> Result<T, KeyStoreError>,
    ) -> Result<T, KeyStoreError> {
        // What a panic left behind is a whole file in any case.
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.lock()
            .map_err(|error| failed(&self.path, "locked", error))?;
        let unlock = Unlock(&lock);
        let result = work(&Locked { path: &self.path });
        drop(unlock);
        result
    }
}

struct Unlock<'a>(&'a File);

impl Drop for Unlock<'_> {
    fn drop(&mut self) {
        // The only way to fail is to have no lock.
        let _ = self.0.unlock();
    }
}

impl Locked<'_> {
    pub(super) fn read(&self) -> Result<BTreeMap<String, Entry>, KeyStoreError> {
        let content = match fs::read(self.path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(failed(self.path, "read", error)),
        };
        // What is wrong, but not its text: that could be a key.
        let damaged = |reason| KeyStoreError::Damaged {
            path: self.path.to_owned(),
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
                self.replace(&content, &beside(self.path, &format!("{session}.tmp")))
            });
        written.map_err(|error| failed(self.path, "written", error))
    }

    fn replace(&self, content: &[u8], temporary: &Path) -> io::Result<()> {
        let result = (|| {
            let mut file =
                private(OpenOptions::new().create(true).truncate(true)).open(temporary)?;
            file.write_all(content)?;
            file.sync_all()?;
            drop(file);
            fs::rename(temporary, self.path)
        })();
        if result.is_err() {
            let _ = fs::remove_file(temporary);
        }
        result?;
        sync_folder(self.path)
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
