//! A data directory while it is made: everything in it is removed unless it becomes complete.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use thiserror::Error;

use crate::account::Account;
use crate::deadline::Deadline;
use crate::files::layout;
use crate::fs::directory::{Directory, MadeDirectory};
use crate::fs::directory_lock::{DirectoryLock, LockError, LockErrorKind};
use crate::fs::entry::Entry;
use crate::fs::guard::{DirectoryGuard, GuardError, GuardOptions};

/// The longest wait for another process that makes the directory: `initdb` takes half a second.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// The longest time in which the guard of a killed process removes its unfinished work.
const GUARD_PATIENCE: Duration = Duration::from_secs(2);

/// A data directory while it is made, locked against other processes that make it too.
///
/// `initdb`, or another program that makes it, works in a [subdirectory](Self::stage). When it has
/// succeeded, [`finish`](Self::finish) moves everything up, `PG_VERSION` last. No program takes a
/// directory without `PG_VERSION` for a cluster. The subdirectory shows the next attempt that the
/// files beside it are left over from this one.
#[derive(Debug)]
pub struct NewDataDirectory {
    directory: Utf8PathBuf,
    stage: &'static str,
    /// The directory, and its parents that did not exist before. The account owns the directory and
    /// could make any path in it lead elsewhere, so root acts only through this handle.
    made: MadeDirectory,
    /// Directories elsewhere that are filled too.
    outside: Vec<Outside>,
    /// The entries that were already moved to their place.
    moved: Vec<OsString>,
    guard: Option<DirectoryGuard>,
    /// The user and the group that owned the directory before.
    owner: (u32, u32),
    _lock: DirectoryLock,
}

impl NewDataDirectory {
    /// Makes the directory, with its parents, and in it the subdirectory of this name. Both are
    /// given to the account. The files of an attempt that a crash of the machine interrupted are
    /// removed.
    ///
    /// # Errors
    ///
    /// Fails if the directory is not empty, another process makes it, or it cannot be made, locked
    /// or given to the account. It is then as it was before.
    pub fn prepare(
        directory: impl AsRef<Utf8Path>,
        stage: &'static str,
        account: Option<&Account>,
    ) -> Result<Self, NewDataDirectoryError> {
        let path = directory.as_ref();
        Self::make(path, stage, account).map_err(NewDataDirectoryError::at(path))
    }

    fn make(
        directory: &Utf8Path,
        stage: &'static str,
        account: Option<&Account>,
    ) -> Result<Self, NewDataDirectoryErrorKind> {
        let (made, lock) = make_and_lock(directory, stage, account)?;
        let found = made.directory().as_file().metadata();
        let found = found.map_err(NewDataDirectoryErrorKind::Directory)?;
        let mut new = Self {
            directory: directory.to_owned(),
            stage,
            made,
            outside: Vec::new(),
            moved: Vec::new(),
            guard: None,
            owner: (found.uid(), found.gid()),
            _lock: lock,
        };
        new.require_empty()?;
        match new.make_stage(account) {
            Ok(()) => Ok(new),
            Err(error) => {
                new.undo();
                Err(NewDataDirectoryErrorKind::Directory(error))
            }
        }
    }

    fn make_stage(&self, account: Option<&Account>) -> io::Result<()> {
        give(&self.held().make(self.stage)?, account)?;
        give(self.held(), account)
    }

    /// Adopts an empty or new directory for the write-ahead log or a tablespace, which is removed
    /// or emptied too if the data directory does not become complete. The files of one that is not
    /// empty stay.
    ///
    /// # Errors
    ///
    /// Fails if the directory cannot be made, read or given to the account.
    pub fn adopt_directory(
        &mut self,
        path: &Utf8Path,
        account: Option<&Account>,
    ) -> Result<(), NewDataDirectoryError> {
        let outside = Outside::prepare(path, account)
            .map_err(NewDataDirectoryErrorKind::Directory)
            .map_err(NewDataDirectoryError::at(path))?;
        self.outside.push(outside);
        Ok(())
    }

    /// Starts the guard that removes unfinished work if this process is killed. The guard removes
    /// the subdirectory last. After that it removes nothing more, so another process may begin. For
    /// the same reason the data directory itself stays, empty.
    ///
    /// # Errors
    ///
    /// Fails as [`GuardOptions::guard`] does.
    pub fn start_guard(&mut self) -> Result<(), GuardError> {
        let mut options = GuardOptions::new();
        for outside in self.outside.iter().filter(|outside| outside.empty) {
            let path = outside.path.clone();
            options = match outside.made.is_new() {
                true => options.remove(path),
                false => options.empty(path),
            };
        }
        // A killed `initdb` leaves its shared memory allocated, like a killed server.
        let options = options.release_memory_of(self.stage()).remove(self.stage());
        self.guard = Some(options.guard()?);
        Ok(())
    }

    /// The guard, which a program that works in the subdirectory has to
    /// [hold back](crate::Command::guarded_by).
    pub fn guard(&self) -> Option<&DirectoryGuard> {
        self.guard.as_ref()
    }

    /// The subdirectory.
    pub fn stage(&self) -> Utf8PathBuf {
        self.directory.join(self.stage)
    }

    /// The subdirectory, held open.
    ///
    /// # Errors
    ///
    /// Fails if the directory cannot be opened.
    pub fn open_stage(&self) -> io::Result<Directory> {
        self.held().subdirectory(self.stage)
    }

    fn held(&self) -> &Directory {
        self.made.directory()
    }

    /// Refuses a directory that is not empty, but removes the files of an interrupted attempt.
    fn require_empty(&self) -> Result<(), NewDataDirectoryErrorKind> {
        let names = || {
            self.held()
                .names()
                .map_err(NewDataDirectoryErrorKind::Directory)
        };
        let found = names()?;
        if found.iter().any(|name| name == "PG_VERSION") {
            return Err(NewDataDirectoryErrorKind::AlreadyInitialized);
        }
        if found.iter().any(|name| name == self.stage) {
            // No process holds the lock: the machine has crashed.
            self.clear().map_err(NewDataDirectoryErrorKind::Directory)?;
        }
        match names()?.first() {
            None => Ok(()),
            Some(name) => Err(NewDataDirectoryErrorKind::NotEmpty(
                name.to_string_lossy().into_owned(),
            )),
        }
    }

    /// Moves everything from the subdirectory up, and waits until it is on disk.
    ///
    /// # Errors
    ///
    /// Fails if the system refuses. [`undo`](Self::undo) can follow.
    pub fn finish(&mut self) -> io::Result<()> {
        self.finish_from(&self.open_stage()?)
    }

    /// Like [`finish`](Self::finish), with the files in another directory below the subdirectory.
    ///
    /// # Errors
    ///
    /// Fails as [`finish`](Self::finish) does.
    pub fn finish_from(&mut self, stage: &Directory) -> io::Result<()> {
        // From now on the subdirectory marks the other files as unfinished, and is removed last.
        if let Some(guard) = self.guard.take() {
            guard.release();
        }
        for name in stage.names()? {
            if name != "PG_VERSION" {
                stage.move_to(&name, self.held())?;
                self.moved.push(name);
            }
        }
        let directory = self.held().as_file();
        let mode = stage.as_file().metadata()?.mode() & 0o777;
        directory.set_permissions(Permissions::from_mode(mode))?;
        directory.sync_all()?;
        stage.move_to("PG_VERSION", self.held())?;
        self.held().remove(self.stage)?;
        directory.sync_all()?;
        Entry::named(&self.directory)?
            .parent()?
            .as_file()
            .sync_all()
    }

    /// Restores the directories as far as possible. Shared memory of a program that worked in the
    /// subdirectory is to be [released](crate::release_shared_memory) before.
    pub fn undo(&mut self) {
        for outside in self.outside.drain(..) {
            outside.undo();
        }
        if let Some(guard) = self.guard.take() {
            guard.release();
        }
        if self.clear().is_err() {
            return;
        }
        let _ = match self.made.is_new() {
            true => self.made.remove(),
            false => fchown(
                self.held().as_file(),
                Some(self.owner.0),
                Some(self.owner.1),
            ),
        };
    }

    /// Removes the files that were moved up, and then the subdirectory that marks them.
    fn clear(&self) -> io::Result<()> {
        for name in self.held().names()? {
            let is_ours = name.to_str().is_some_and(layout::is_made_by_base_backup);
            if is_ours || self.moved.contains(&name) {
                self.held().remove(&name)?;
            }
        }
        self.held().remove(self.stage)
    }
}

fn give(directory: &Directory, account: Option<&Account>) -> io::Result<()> {
    match account {
        Some(account) => fchown(
            directory.as_file(),
            Some(account.uid()),
            Some(account.gid()),
        ),
        None => Ok(()),
    }
}

/// Makes the directory with its parents and locks it. If another process that fails or is killed
/// removes it meanwhile, it is made again.
///
/// The account that will own the directory can enter the new parents, whatever the umask is.
fn make_and_lock(
    directory: &Utf8Path,
    stage: &str,
    account: Option<&Account>,
) -> Result<(MadeDirectory, DirectoryLock), NewDataDirectoryErrorKind> {
    let begun = Instant::now();
    let mut earlier: Option<MadeDirectory> = None;
    loop {
        let mut made = match Directory::create_all(directory, account.map(|_| 0o755)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_early(begun) => continue,
            other => other.map_err(NewDataDirectoryErrorKind::Directory)?,
        };
        if let Some(earlier) = earlier.take() {
            made.adopt(earlier);
        }
        let deadline = Deadline::after(LOCK_PATIENCE);
        let lock = DirectoryLock::acquire_held(made.directory(), directory, deadline).map_err(
            |error| match error.kind() {
                LockErrorKind::Busy { .. } => NewDataDirectoryErrorKind::Busy,
                _ => NewDataDirectoryErrorKind::Lock(error),
            },
        )?;
        // If the lock is free and there is unfinished work, its owner was killed. The guard of the
        // owner is about to remove the work, perhaps with the directory. That has to happen first.
        let waiting = Instant::now();
        while made.directory().contains(stage).unwrap_or(false)
            && waiting.elapsed() < GUARD_PATIENCE
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        let is_there = Directory::open(directory)
            .and_then(|now| now.is_same(made.directory()))
            .unwrap_or(false);
        if is_there || !is_early(begun) {
            return Ok((made, lock));
        }
        earlier = Some(made);
    }
}

fn is_early(begun: Instant) -> bool {
    begun.elapsed() < LOCK_PATIENCE
}

/// A directory elsewhere, for the write-ahead log or a tablespace, which a program may have filled
/// before it failed.
#[derive(Debug)]
struct Outside {
    path: Utf8PathBuf,
    made: MadeDirectory,
    /// If it is not empty, the program refuses it, and its files are not removed.
    empty: bool,
}

impl Outside {
    fn prepare(path: &Utf8Path, account: Option<&Account>) -> io::Result<Self> {
        let made = Directory::create(path)?;
        if made.is_new() {
            give(made.directory(), account)?;
        }
        Ok(Self {
            path: path.to_owned(),
            empty: made.directory().names()?.is_empty(),
            made,
        })
    }

    fn undo(&self) {
        if self.empty {
            let held = self.made.directory();
            for name in held.names().unwrap_or_default() {
                let _ = held.remove(name);
            }
        }
        let _ = self.made.remove();
    }
}

/// A data directory could not be made.
#[derive(Debug, Error)]
#[error("failed to make the data directory {path}")]
pub struct NewDataDirectoryError {
    path: Utf8PathBuf,
    #[source]
    kind: NewDataDirectoryErrorKind,
}

/// The reason of a [`NewDataDirectoryError`].
#[derive(Debug, Error)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a caller that has an error of its own gives each kind its place there"
)]
pub enum NewDataDirectoryErrorKind {
    /// The directory is a data directory already.
    #[error("the directory is a data directory already")]
    AlreadyInitialized,
    /// The directory is not empty. The field is the name of one entry. Nothing was changed.
    #[error("the directory is not empty: it contains `{0}`")]
    NotEmpty(String),
    /// Another process is making the directory.
    #[error("another process is initializing the directory")]
    Busy,
    /// The directory cannot be locked.
    #[error("the directory cannot be locked")]
    Lock(#[source] LockError),
    /// The directory cannot be created, read or changed.
    #[error("the directory cannot be used")]
    Directory(#[source] io::Error),
}

impl NewDataDirectoryError {
    pub(crate) fn at(path: &Utf8Path) -> impl FnOnce(NewDataDirectoryErrorKind) -> Self {
        let path = path.to_owned();
        |kind| Self { path, kind }
    }

    /// The directory.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The reason.
    pub fn kind(&self) -> &NewDataDirectoryErrorKind {
        &self.kind
    }

    /// The reason, for an error that names the directory itself.
    pub fn into_kind(self) -> NewDataDirectoryErrorKind {
        self.kind
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match &self.kind {
            NewDataDirectoryErrorKind::Lock(error) => error.hint(),
            _ => None,
        }
    }
}
