//! Which processes are alive: each holds the lock of a file of its own, which its end releases,
//! whatever kind of end that is.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{
    super::KeyStoreError,
    beside,
    disk::{failed, private},
};

pub(super) struct Session {
    id: String,
    path: PathBuf,
    /// Holds the lock.
    _alive: File,
}

impl Session {
    pub(super) fn start(store: &Path) -> Result<Self, KeyStoreError> {
        let id = Uuid::new_v4().to_string();
        let path = path(store, &id);
        let started = private(OpenOptions::new().create_new(true))
            .open(&path)
            .and_then(|file| file.try_lock().map_err(io::Error::from).map(|()| file));
        Ok(Self {
            id,
            path,
            _alive: started.map_err(|error| failed(store, "locked", error))?,
        })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn census<'a>(&'a self, store: &'a Path) -> Census<'a> {
        Census {
            own: &self.id,
            store,
            known: HashMap::new(),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A session without a file is as dead as one whose file is not locked.
        let _ = fs::remove_file(&self.path);
    }
}

/// Asks for each session once.
pub(super) struct Census<'a> {
    own: &'a str,
    store: &'a Path,
    known: HashMap<String, bool>,
}

impl Census<'_> {
    pub(super) fn is_dead(&mut self, session: &str) -> bool {
        if session == self.own {
            return false;
        }
        if let Some(is_dead) = self.known.get(session) {
            return *is_dead;
        }
        let is_dead = is_dead(&path(self.store, session));
        self.known.insert(session.to_owned(), is_dead);
        is_dead
    }
}

/// Removes what the dead have left behind: their sessions, and files half-written, which hold keys.
/// Its caller has the store's lock, so nobody is writing.
pub(super) fn sweep(store: &Path) {
    let (Some(folder), Some(name)) = (store.parent(), store.file_name()) else {
        return;
    };
    // What stays does no harm but to the folder's looks.
    let Ok(files) = fs::read_dir(folder) else {
        return;
    };
    for file in files.flatten() {
        let file_name = file.file_name();
        let Some((id, kind)) = file_name
            .to_str()
            .and_then(|file| file.strip_prefix(name.to_str()?)?.strip_prefix('.'))
            .and_then(|suffix| suffix.split_once('.'))
        else {
            continue;
        };
        if Uuid::try_parse(id).is_err() {
            continue;
        }
        match kind {
            "tmp" => _ = fs::remove_file(file.path()),
            "session" => _ = is_dead(&file.path()),
            _ => {}
        }
    }
}

/// In doubt it is alive: then its keys are kept.
fn is_dead(path: &Path) -> bool {
    match File::open(path) {
        Ok(file) => match file.try_lock() {
            Ok(()) => {
                let _ = fs::remove_file(path);
                true
            }
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
        },
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn path(store: &Path, session: &str) -> PathBuf {
    beside(store, &format!("{session}.session"))
}
