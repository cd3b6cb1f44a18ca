//! The lock files of Unix sockets: whom they name, and what a killed server leaves.

use camino::Utf8Path;

use crate::files::pid_file::PidFile;
use crate::files::socket::SocketPath;
use crate::fs::directory::Directory;
use crate::pid::Pid;
use crate::postmaster::find::{Found, find};
use crate::sys::{DirectoryId, Evidence, Identity, Means, identify};

/// The process that the lock file of a socket names, if it lives and is not the server that wrote
/// the file. PostgreSQL takes it for that server (`CreateSocketLockFile`).
pub(crate) fn bystander(socket: &SocketPath) -> Option<Pid> {
    let lock = socket.read_lock().ok()??;
    let path = lock.data_directory.as_deref()?;
    let held_by = |found| match found {
        Found::Running(postmaster) => Some(postmaster.pid()),
        Found::SingleUser(pid) | Found::OtherUsers { pid, .. } => Some(pid),
        _ => None,
    };
    if held_by(find(path, Means::Native).ok()?) == Some(lock.pid) {
        return None;
    }
    // The directory may be one of another container.
    let known = DirectoryId::of(path).ok();
    let evidence = Evidence {
        pid: lock.pid,
        directory: known.unwrap_or(DirectoryId::NONE),
        start_time: lock.start_time,
        shared_memory: None,
    };
    match identify(&evidence, Means::Native) {
        Identity::OtherProgram(_) | Identity::Zombie => Some(lock.pid),
        Identity::OtherDirectory | Identity::BeganLater if known.is_some() => Some(lock.pid),
        _ => None,
    }
}

/// Removes the socket that a lock file of a data directory names, and its lock file, if this names
/// the same process and the same directory. That process was killed, and has exited.
pub(crate) fn remove_left(file: &PidFile, data_directory: &Utf8Path) {
    let (Some(directory), Some(port)) = (&file.socket_directory, file.port) else {
        return;
    };
    // An abstract socket has no files.
    if directory.as_str().starts_with('@') {
        return;
    }
    // The server takes a relative one against its data directory.
    let Ok(socket) = SocketPath::new(data_directory.join(directory), port) else {
        return;
    };
    let is_its = |lock: PidFile| lock.pid == file.pid && lock.data_directory == file.data_directory;
    if !socket.read_lock().ok().flatten().is_some_and(is_its) {
        return;
    }
    let lock_file = socket.lock_file();
    let directory = socket.socket().parent().map(Utf8Path::canonicalize_utf8);
    let (Some(Ok(directory)), Some(socket), Some(lock_file)) = (
        directory,
        socket.socket().file_name(),
        lock_file.file_name(),
    ) else {
        return;
    };
    if let Ok(held) = Directory::open(directory) {
        // The lock last: without it another server would take the place of the socket.
        let _ = held.remove(socket).and_then(|()| held.remove(lock_file));
    }
}
