//! Changes in a directory, reported by inotify.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use camino::Utf8Path;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// Becomes readable when something in a directory changes.
#[derive(Debug)]
pub(crate) struct DirectoryEvents {
    /// Always there until dropped.
    instance: Option<OwnedFd>,
    watch: i32,
}

/// Instances that watch nothing, and the process that they are of: one that was forked must not
/// take events away from the other.
///
/// They are kept because closing one is slow: the kernel waits until no thread can be using a watch
/// of it any more (`fsnotify_destroy_group`), 15 ms and longer. That is most of the time that a
/// server needs to start. Removing a watch does not wait.
static IDLE: Mutex<(u32, Vec<OwnedFd>)> = Mutex::new((0, Vec::new()));

/// The number of simultaneous waits that are made fast.
const MOST_IDLE: usize = 4;

impl DirectoryEvents {
    /// None if the system is out of instances (128 for each user by default) or watches, or if the
    /// directory cannot be read.
    pub(crate) fn of(path: &Utf8Path) -> Option<Self> {
        let changes =
            WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::MOVED_TO | WatchFlags::DELETE;
        Self::watch(path, changes)
    }

    /// Becomes readable when a process closes the directory, which is how a lock on it ends.
    pub(crate) fn of_closing(path: &Utf8Path) -> Option<Self> {
        Self::watch(path, WatchFlags::CLOSE_NOWRITE)
    }

    fn watch(path: &Utf8Path, flags: WatchFlags) -> Option<Self> {
        let instance = idle_instance()
            .or_else(|| inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok())?;
        match inotify::add_watch(&instance, path.as_std_path(), flags) {
            Ok(watch) => Some(Self {
                instance: Some(instance),
                watch,
            }),
            Err(_) => {
                keep(instance);
                None
            }
        }
    }

    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.instance.as_ref().map(AsFd::as_fd)
    }

    /// Discards the events reported so far.
    pub(crate) fn forget(&self) {
        if let Some(instance) = &self.instance {
            drain(instance);
        }
    }
}

impl Drop for DirectoryEvents {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.take() {
            // The watch is removed already if the directory is.
            let _ = inotify::remove_watch(&instance, self.watch);
            drain(&instance);
            keep(instance);
        }
    }
}

fn drain(instance: &OwnedFd) {
    let mut buffer = [0; 4096];
    while matches!(rustix::io::read(instance, &mut buffer), Ok(1..)) {}
}

fn idle_instance() -> Option<OwnedFd> {
    let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    if idle.0 != std::process::id() {
        *idle = (std::process::id(), Vec::new());
    }
    idle.1.pop()
}

fn keep(instance: OwnedFd) {
    let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    if idle.0 == std::process::id() && idle.1.len() < MOST_IDLE {
        idle.1.push(instance);
    }
}
