//! Removing directories when the process that owns them exits.

use std::borrow::Cow;
use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::event::{PollFd, PollFlags};
use thiserror::Error;

use crate::deadline::Deadline;
use crate::fs::entry::Entry;
use crate::fs::walk::ForeignLink;
use crate::maker::Maker;
use crate::sys::{self, Errand, Place, Removal};

/// Removes directories when the owner exits for any reason, and when this value is dropped.
///
/// A separate process waits for that. Programs and servers that are started
/// [`guarded_by`](crate::Command::guarded_by) this guard hold it back until all their processes
/// have exited, so nothing is removed under a running server.
///
/// Each directory is identified by its device and inode as of [`guard`](GuardOptions::guard), and
/// optionally by a marker file. A directory that has replaced it meanwhile is not removed, nor are
/// mounts inside or the targets of links. The parent directory is held open from then on, so a new
/// link cannot redirect the removal.
///
/// Only the process that made the guard owns it. In a forked process, dropping the copy neither
/// removes anything nor waits. The directories are removed when the last copy in a running process
/// has been dropped.
///
/// ```no_run
/// use pg_proc::{Command, GuardOptions, ServerOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let guard = GuardOptions::new()
///     .release_memory_of("/tmp/experiment/data")
///     .remove("/tmp/experiment")
///     .guard()?;
/// let server = Command::new("/usr/lib/postgresql/17/bin/postgres")
///     .args(["-D", "/tmp/experiment/data"])
///     .guarded_by(&guard)
///     .spawn_server(&ServerOptions::new("/tmp/experiment/data"))?;
/// drop(server);
/// drop(guard); // removes /tmp/experiment, as does the exit of the process
/// # Ok(())
/// # }
/// ```
///
/// # Cleanup
///
/// If the guard's own process is killed, nothing is removed.
#[derive(Debug)]
pub struct DirectoryGuard {
    lifeline: Option<Arc<OwnedFd>>,
    done: OwnedFd,
    errand: Errand,
    /// The longest time that dropping the guard may take.
    patience: Duration,
    maker: Maker,
}

/// The directories and shared memory that a [`DirectoryGuard`] removes.
#[derive(Clone, Debug, Default)]
pub struct GuardOptions {
    directories: Vec<(Utf8PathBuf, Extent)>,
    data_directories: Vec<Utf8PathBuf>,
}

/// The part of a directory that is removed.
#[derive(Clone, Debug)]
enum Extent {
    Whole,
    IfMarked(String),
    Content,
}

impl GuardOptions {
    /// Removes nothing yet.
    pub const fn new() -> Self {
        Self {
            directories: Vec::new(),
            data_directories: Vec::new(),
        }
    }

    /// Removes this directory, which must exist. Directories are removed in the order in which they
    /// are given.
    #[must_use]
    pub fn remove(mut self, directory: impl Into<Utf8PathBuf>) -> Self {
        self.directories.push((directory.into(), Extent::Whole));
        self
    }

    /// Removes what is in this directory, which must exist, and not the directory itself.
    #[must_use]
    pub fn empty(mut self, directory: impl Into<Utf8PathBuf>) -> Self {
        self.directories.push((directory.into(), Extent::Content));
        self
    }

    /// Removes this directory if a regular file of this name is directly in it then.
    #[must_use]
    pub fn remove_marked(
        mut self,
        directory: impl Into<Utf8PathBuf>,
        marker: impl Into<String>,
    ) -> Self {
        self.directories
            .push((directory.into(), Extent::IfMarked(marker.into())));
        self
    }

    /// Gives back the shared memory of a server of this data directory that was killed, as
    /// [`release_shared_memory`](crate::release_shared_memory) does, before anything is removed.
    /// The directory need not exist yet.
    #[must_use]
    pub fn release_memory_of(mut self, data_directory: impl Into<Utf8PathBuf>) -> Self {
        self.data_directories.push(data_directory.into());
        self
    }

    /// Starts to guard.
    ///
    /// # Errors
    ///
    /// Fails if one of the paths does not exist or is not a directory, or the system is out of
    /// processes or descriptors.
    pub fn guard(&self) -> Result<DirectoryGuard, GuardError> {
        let mut errand = Errand::default();
        for path in &self.data_directories {
            let way = way_to(path).map_err(GuardError::at(path))?;
            errand.data_directories.push(way);
        }
        for (path, extent) in &self.directories {
            errand
                .removals
                .push(removal(path, extent).map_err(GuardError::at(path))?);
        }
        let (lifeline, done) = sys::guard(&errand).map_err(GuardError::start)?;
        Ok(DirectoryGuard {
            lifeline: Some(Arc::new(lifeline)),
            done,
            errand,
            patience: Duration::from_secs(5),
            maker: Maker::this_process(),
        })
    }
}

impl DirectoryGuard {
    /// Ends the guard without removing anything.
    ///
    /// ```no_run
    /// use pg_proc::GuardOptions;
    ///
    /// let directory = std::env::temp_dir().join(format!("guard-{}", std::process::id()));
    /// std::fs::create_dir(&directory)?;
    /// let path = directory.to_str().ok_or("not UTF-8")?;
    /// let guard = GuardOptions::new().remove(path).guard()?;
    /// guard.release(); // the work is complete: keep it
    /// # std::fs::remove_dir(&directory)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release(mut self) {
        if !self.maker.is_this_process() {
            return;
        }
        if let Some(lifeline) = self.lifeline.take() {
            sys::send(&lifeline, b"keep");
        }
        self.errand = Errand::default();
    }

    /// Removes the directories now, waits up to the deadline until that is done, and returns
    /// whether it is.
    ///
    /// Something that was started [`guarded_by`](crate::Command::guarded_by) this guard and still
    /// runs holds it back.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// # fn example(guard: pg_proc::DirectoryGuard) {
    /// if !guard.remove(Duration::from_secs(5)) {
    ///     eprintln!("a guarded process still runs");
    /// }
    /// # }
    /// ```
    pub fn remove(mut self, deadline: impl Into<Deadline>) -> bool {
        self.lifeline = None;
        // Dropping it after that need not wait once more.
        self.patience = Duration::ZERO;
        self.wait(deadline.into())
    }

    pub(crate) fn lifeline(&self) -> Option<&Arc<OwnedFd>> {
        self.lifeline.as_ref()
    }

    fn wait(&self, deadline: Deadline) -> bool {
        if !self.maker.is_this_process() {
            return false;
        }
        let is_over = |done: &OwnedFd| {
            let mut byte = [0];
            deadline
                .poll(&mut [PollFd::new(done, PollFlags::IN)])
                .then(|| rustix::io::read(done, &mut byte) == Ok(1))
        };
        match is_over(&self.done) {
            // The warden was killed before it could see to that. Another one does it.
            Some(false) => sys::guard(&self.errand).is_ok_and(|(lifeline, done)| {
                drop(lifeline);
                is_over(&done) == Some(true)
            }),
            Some(true) => true,
            None => false,
        }
    }
}

impl Drop for DirectoryGuard {
    /// Removes the directories, unless released. Waits up to five seconds for it; the removal goes
    /// on after that. Does nothing in a process that was forked from the one that made it.
    fn drop(&mut self) {
        self.lifeline = None;
        if self.maker.is_this_process() && !self.errand.is_empty() {
            self.wait(Deadline::after(self.patience));
        }
    }
}

fn removal(path: &Utf8Path, extent: &Extent) -> Result<Removal, GuardErrorKind> {
    let place = place(path)?;
    let directory = place.open_directory().map_err(|e| match e.kind() {
        io::ErrorKind::NotADirectory => GuardErrorKind::NotDirectory,
        _ => GuardErrorKind::Directory(e),
    })?;
    let meta = directory
        .as_file()
        .metadata()
        .map_err(GuardErrorKind::Directory)?;
    let marker = match extent {
        Extent::IfMarked(name) if name.is_empty() || name.contains('/') => {
            return Err(GuardErrorKind::Marker(name.clone()));
        }
        Extent::IfMarked(name) => {
            Some(CString::new(name.as_str()).map_err(|_| GuardErrorKind::Marker(name.clone()))?)
        }
        Extent::Whole | Extent::Content => None,
    };
    let (parent, name) = place.into_parent();
    let name = c_string(name.as_bytes())?;
    Ok(Removal {
        place: Place { parent, name },
        device: meta.dev(),
        inode: meta.ino(),
        marker,
        content_only: matches!(extent, Extent::Content),
    })
}

/// The deepest directory of the path that exists, and the names that lead from there.
fn way_to(path: &Utf8Path) -> Result<(OwnedFd, Vec<CString>), GuardErrorKind> {
    match (place(path), path.parent(), path.file_name()) {
        (Ok(place), ..) => {
            let (parent, name) = place.into_parent();
            Ok((parent, vec![c_string(name.as_bytes())?]))
        }
        (Err(GuardErrorKind::Directory(e)), Some(parent), Some(name))
            if e.kind() == io::ErrorKind::NotFound =>
        {
            let (held, mut names) = way_to(parent)?;
            names.push(c_string(name.as_bytes())?);
            Ok((held, names))
        }
        (Err(kind), ..) => Err(kind),
    }
}

fn place(path: &Utf8Path) -> Result<Entry, GuardErrorKind> {
    Entry::named(path).map_err(GuardErrorKind::Directory)
}

fn c_string(name: &[u8]) -> Result<CString, GuardErrorKind> {
    CString::new(name).map_err(|e| GuardErrorKind::Directory(e.into()))
}

/// A guard that could not be set up.
#[derive(Debug, Error)]
#[error("failed to guard {}", .path.as_ref().map_or("directories", |path| path.as_str()))]
pub struct GuardError {
    path: Option<Utf8PathBuf>,
    #[source]
    kind: GuardErrorKind,
}

/// The reason why a guard could not be set up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GuardErrorKind {
    /// The directory, or one on its path, cannot be read.
    #[error("the directory cannot be read")]
    Directory(#[source] io::Error),
    /// It is a file, or a link.
    #[error("the path is not a directory")]
    NotDirectory,
    /// The marker is not the name of a file.
    #[error("{0:?} is not a file name")]
    Marker(String),
    /// The guard's process could not be started.
    #[error("no process could be started")]
    Start(#[source] io::Error),
}

impl GuardError {
    pub(crate) fn at(path: &Utf8Path) -> impl FnOnce(GuardErrorKind) -> Self {
        move |kind| Self {
            path: Some(path.to_owned()),
            kind,
        }
    }

    pub(crate) const fn start(cause: io::Error) -> Self {
        Self {
            path: None,
            kind: GuardErrorKind::Start(cause),
        }
    }

    /// The directory concerned; none if it is about all of them.
    pub fn path(&self) -> Option<&Utf8Path> {
        self.path.as_deref()
    }

    /// The reason.
    pub const fn kind(&self) -> &GuardErrorKind {
        &self.kind
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match &self.kind {
            GuardErrorKind::Directory(cause) => Some(ForeignLink::of(cause)?.hint().into()),
            _ => None,
        }
    }
}
