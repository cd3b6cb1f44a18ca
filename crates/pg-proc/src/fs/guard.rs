//! Removing directories when the process that owns them exits.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::event::{PollFd, PollFlags};
use thiserror::Error;

use crate::deadline::Deadline;
use crate::sys::{self, Errand, Removal};

/// Removes directories when the owner ends, however it ends, and when this value is dropped.
///
/// A process of its own waits for that. Programs and servers that are started
/// [`guarded_by`](crate::Command::guarded_by) this guard hold it back until nothing of them is
/// left, so nothing is removed under a running server.
///
/// Each directory is known by its device and inode as of [`guard`](GuardOptions::guard), and
/// optionally by a marker file: a directory that has taken its place meanwhile is left alone, and
/// so is what is mounted inside, or what links inside point to.
///
/// # Cleanup
///
/// If the guard's own process is killed, nothing is removed.
#[derive(Debug)]
pub struct DirectoryGuard {
    lifeline: Option<Arc<OwnedFd>>,
    done: OwnedFd,
    errand: Errand,
    /// How long dropping it may take.
    patience: Duration,
}

/// What a [`DirectoryGuard`] removes.
#[derive(Clone, Debug, Default)]
pub struct GuardOptions {
    directories: Vec<(Utf8PathBuf, Extent)>,
    data_directories: Vec<Utf8PathBuf>,
}

/// How much of a directory is removed.
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
    /// One of the directories does not exist or is none, or the system is out of processes or
    /// descriptors.
    pub fn guard(&self) -> Result<DirectoryGuard, GuardError> {
        let mut errand = Errand::default();
        for path in &self.data_directories {
            let failed = |kind| GuardError {
                path: Some(path.clone()),
                kind,
            };
            errand.data_directories.push(c_path(path).map_err(failed)?);
        }
        for (path, extent) in &self.directories {
            let failed = |kind| GuardError {
                path: Some(path.clone()),
                kind,
            };
            errand.removals.push(removal(path, extent).map_err(failed)?);
        }
        let (lifeline, done) = sys::guard(&errand).map_err(|e| GuardError {
            path: None,
            kind: GuardErrorKind::Start(e),
        })?;
        Ok(DirectoryGuard {
            lifeline: Some(Arc::new(lifeline)),
            done,
            errand,
            patience: Duration::from_secs(5),
        })
    }
}

impl DirectoryGuard {
    /// Ends the guard without removing anything.
    pub fn release(mut self) {
        if let Some(lifeline) = self.lifeline.take() {
            sys::send(&lifeline, b"keep");
        }
        self.errand = Errand::default();
    }

    /// Removes the directories now, and waits until that is done; whether it was within the
    /// deadline.
    ///
    /// Something that was started [`guarded_by`](crate::Command::guarded_by) this guard and still
    /// runs holds it back.
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
    /// on after that.
    fn drop(&mut self) {
        self.lifeline = None;
        if !self.errand.is_empty() {
            self.wait(Deadline::after(self.patience));
        }
    }
}

fn removal(path: &Utf8Path, extent: &Extent) -> Result<Removal, GuardErrorKind> {
    let meta = std::fs::symlink_metadata(path).map_err(GuardErrorKind::Directory)?;
    if !meta.is_dir() {
        return Err(GuardErrorKind::NotDirectory);
    }
    let marker = match extent {
        Extent::IfMarked(name) if name.is_empty() || name.contains('/') => {
            return Err(GuardErrorKind::Marker(name.clone()));
        }
        Extent::IfMarked(name) => {
            Some(CString::new(name.as_str()).map_err(|_| GuardErrorKind::Marker(name.clone()))?)
        }
        Extent::Whole | Extent::Content => None,
    };
    Ok(Removal {
        path: c_path(path)?,
        device: meta.dev(),
        inode: meta.ino(),
        marker,
        content_only: matches!(extent, Extent::Content),
    })
}

/// Absolute, as the guard works in another directory.
fn c_path(path: &Utf8Path) -> Result<CString, GuardErrorKind> {
    let absolute = camino::absolute_utf8(path).map_err(GuardErrorKind::Directory)?;
    CString::new(absolute.as_str()).map_err(|e| GuardErrorKind::Directory(e.into()))
}

/// A guard that could not be set up.
#[derive(Debug)]
#[non_exhaustive]
pub struct GuardError {
    /// The directory concerned.
    pub path: Option<Utf8PathBuf>,
    /// What went wrong.
    pub kind: GuardErrorKind,
}

error_with_kind!(GuardError, |e, f| match &e.path {
    Some(path) => write!(f, "failed to guard {path}: {}", e.kind),
    None => write!(f, "failed to guard directories: {}", e.kind),
});

/// What went wrong with a guard.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GuardErrorKind {
    /// The directory cannot be looked at.
    #[error("cannot be read")]
    Directory(#[source] io::Error),
    /// It is something else, or a link.
    #[error("is not a directory")]
    NotDirectory,
    /// The marker is no name of a file.
    #[error("{0:?} is no file name")]
    Marker(String),
    /// The guard's process could not be started.
    #[error("no process could be started")]
    Start(#[source] io::Error),
}
