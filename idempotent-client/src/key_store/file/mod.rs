//! Keys in a file.

mod disk;
mod session;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;

use self::{
    disk::{Disk, Lock},
    session::Session,
};
use super::{Entry, KeyFate, KeyStore, KeyStoreError, Run, RunOutcome};
use crate::IdempotencyKey;

/// Keeps keys in a JSON file, so that an operation that was under way when the program ended,
/// however it ended, is resumed with the same key, and one that was done is not done again.
///
/// Several tasks and several processes of one machine may share the file: each change is made
/// under a file lock, written to another file, flushed to the disk and renamed over the first. It
/// is readable for its owner only. A named operation costs two such changes, some milliseconds
/// each; they are made outside of the async threads. Each change writes all operations of the last
/// `key_ttl` that were not [forgotten](KeyStore::forget), a quarter of a kilobyte for each. For more
/// than some thousands, forget those whose outcome you have kept yourself, or write a [`KeyStore`]
/// over a database.
///
/// Beside `keys.json` there are `keys.json.lock`, and for each process that has it open a file
/// `keys.json.<id>.session`. That file is locked while the process lives, which is how others
/// know whether a run is out or died. What a process that was killed leaves behind is removed when
/// the store is opened next. Others who hold the lock are waited for, 30 seconds at most. Do not
/// put these files on a network file system whose locks do not work.
///
/// A file that is damaged is an error that says what to do; nothing is sent then. A file that is
/// missing is an empty one, so do not remove it while operations are uncertain.
///
/// Cloning gives another handle on the same store.
#[derive(Clone)]
pub struct FileKeyStore {
    inner: Arc<Inner>,
}

struct Inner {
    disk: Disk,
    session: Session,
    /// Runs whose future was dropped, and that are not struck off in the file yet.
    abandoned: Mutex<Vec<Abandoned>>,
}

#[derive(Clone, PartialEq, Eq)]
struct Abandoned {
    name: String,
    run: Run,
    /// Whether anything may have been sent.
    outcome: RunOutcome,
}

impl FileKeyStore {
    /// Opens the store in this file, which is made when the first key is kept. Its folder must be
    /// there.
    ///
    /// # Errors
    ///
    /// [`KeyStoreError::Damaged`] or [`KeyStoreError::Io`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, KeyStoreError> {
        let path = path.as_ref().to_owned();
        let disk = blocking(move || Disk::open(&path)).await?;
        let lock = disk.lock().await?;
        blocking(move || {
            lock.read()?;
            session::sweep(disk.path());
            let session = Session::start(disk.path())?;
            Ok(Self {
                inner: Arc::new(Inner {
                    disk,
                    session,
                    abandoned: Mutex::default(),
                }),
            })
        })
        .await
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.inner.disk.path()
    }

    async fn change<T: Send + 'static>(
        &self,
        name: &str,
        change: impl FnOnce(&mut Option<Entry>) -> Result<T, KeyStoreError> + Send + 'static,
    ) -> Result<T, KeyStoreError> {
        let inner = Arc::clone(&self.inner);
        let name = name.to_owned();
        let lock = inner.disk.lock().await?;
        blocking(move || inner.update(lock, |entries| changed(entries, &name, change))).await
    }
}

impl Inner {
    /// One atomic step. What was left to be struck off is, first.
    #[allow(clippy::needless_pass_by_value)] // The lock must be let go before the store is.
    fn update<T>(
        &self,
        lock: Lock,
        update: impl FnOnce(&mut BTreeMap<String, Entry>) -> Result<T, KeyStoreError>,
    ) -> Result<T, KeyStoreError> {
        let before = lock.read()?;
        let mut entries = before.clone();
        let abandoned = self.abandoned().clone();
        for Abandoned { name, run, outcome } in &abandoned {
            changed(&mut entries, name, |slot| match outcome {
                RunOutcome::Uncertain => Entry::abandon(slot, run),
                outcome => _ = Entry::end(slot, run, *outcome),
            });
        }
        let mut census = self.session.census(self.disk.path());
        for entry in entries.values_mut() {
            entry.bury(|session| census.is_dead(session));
        }
        let now = SystemTime::now();
        entries.retain(|_, entry| !entry.is_over(now));
        let result = update(&mut entries)?;
        if entries != before {
            lock.write(&entries, self.session.id())?;
        }
        self.abandoned().retain(|run| !abandoned.contains(run));
        Ok(result)
    }

    fn abandoned(&self) -> MutexGuard<'_, Vec<Abandoned>> {
        // Nothing panics half-way through a change.
        self.abandoned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn abandon(self: &Arc<Self>, name: &str, run: &Run, outcome: RunOutcome) {
        self.abandoned().push(Abandoned {
            name: name.to_owned(),
            run: run.clone(),
            outcome,
        });
        // For other processes; this one strikes it off before whatever it does next.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(Arc::clone(self).strike_off());
        }
    }

    async fn strike_off(self: Arc<Self>) {
        let struck_off = async {
            let lock = self.disk.lock().await?;
            if self.abandoned().is_empty() {
                return Ok(());
            }
            let inner = Arc::clone(&self);
            blocking(move || inner.update(lock, |_| Ok(()))).await
        };
        if let Err(error) = struck_off.await {
            tracing::warn!(%error, "a dropped operation is not struck off yet");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.abandoned().is_empty() {
            return;
        }
        let struck_off = match self.disk.lock_soon() {
            Some(lock) => self.update(lock, |_| Ok(())),
            // The end of the session strikes off those that are in the file.
            None => return,
        };
        if let Err(error) = struck_off {
            tracing::warn!(%error, "dropped operations are not struck off");
        }
    }
}

impl fmt::Debug for FileKeyStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FileKeyStore")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

/// A run that was entered. Whoever wanted it may be gone: then nobody takes it, and nothing is sent.
struct Entered {
    inner: Arc<Inner>,
    name: String,
    run: Option<Run>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(run) = &self.run {
            self.inner.abandon(&self.name, run, RunOutcome::Refused);
        }
    }
}

#[async_trait]
impl KeyStore for FileKeyStore {
    async fn begin(
        &self,
        name: &str,
        key: IdempotencyKey,
        ttl: Duration,
    ) -> Result<Run, KeyStoreError> {
        let inner = Arc::clone(&self.inner);
        let own_name = name.to_owned();
        let entering = move |slot: &mut Option<Entry>| {
            let session = inner.session.id();
            let run = Entry::begin(slot, &own_name, session, key, ttl, SystemTime::now())?;
            Ok(Entered {
                inner,
                name: own_name,
                run: Some(run),
            })
        };
        let mut entered = self.change(name, entering).await?;
        Ok(entered.run.take().expect("it has just been entered"))
    }

    async fn end(
        &self,
        name: &str,
        run: &Run,
        outcome: RunOutcome,
    ) -> Result<KeyFate, KeyStoreError> {
        let run = run.clone();
        self.change(name, move |slot| Ok(Entry::end(slot, &run, outcome)))
            .await
    }

    fn abandon(&self, name: &str, run: &Run) {
        self.inner.abandon(name, run, RunOutcome::Uncertain);
    }

    async fn forget(&self, name: &str) -> Result<bool, KeyStoreError> {
        let name_of_it = name.to_owned();
        self.change(name, move |slot| Entry::forget(slot, &name_of_it))
            .await
    }
}

fn changed<T>(
    entries: &mut BTreeMap<String, Entry>,
    name: &str,
    change: impl FnOnce(&mut Option<Entry>) -> T,
) -> T {
    let mut slot = entries.remove(name);
    let result = change(&mut slot);
    if let Some(entry) = slot {
        entries.insert(name.to_owned(), entry);
    }
    result
}

/// Does what blocks where that is allowed.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeyStoreError> + Send + 'static,
) -> Result<T, KeyStoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(KeyStoreError::Unavailable(error.into())),
    }
}

/// `keys.json` and `lock` make `keys.json.lock`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}
