//! The sockets that a killed server leaves, with their lock files.

use std::io;

use camino::Utf8Path;

use crate::deadline::Deadline;
use crate::files::socket::SocketPath;
use crate::fs::directory_lock::DirectoryLock;
use crate::postmaster::find::{Found, Stale, StaleReason};
use crate::postmaster::handle::Postmaster;

/// Removes the socket, with its lock file, of a server that was killed: the one that the stale
/// `postmaster.pid` of the directory names. Returns whether there was one.
///
/// Another server that is to use the same address takes the lock file for valid as long as any
/// process has the PID in it (`CreateLockFile` in src/backend/utils/init/miscinit.c).
///
/// # Races
///
/// While another process starts a server over the same lock file, nothing is removed: that start
/// does so.
///
/// # Errors
///
/// The socket cannot be removed.
pub fn remove_dead_socket(data_directory: impl AsRef<Utf8Path>) -> io::Result<bool> {
    let data_directory = data_directory.as_ref();
    let Ok(_turn) =
        DirectoryLock::acquire(data_directory, Deadline::after(std::time::Duration::ZERO))
    else {
        return Ok(false);
    };
    match Postmaster::find(data_directory) {
        Ok(Found::Stale(stale)) => remove_of(&stale, data_directory),
        _ => Ok(false),
    }
}

/// The caller holds the lock of the directory.
pub(crate) fn remove_of(stale: &Stale, data_directory: &Utf8Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let Some(dead) = &stale.pid_file else {
        return Ok(false);
    };
    // The file came with a copy of the directory: the server that it names lives elsewhere.
    if matches!(stale.reason, StaleReason::OtherDirectory) {
        return Ok(false);
    }
    let (Some(directory), Some(port)) = (&dead.socket_directory, dead.port) else {
        return Ok(false);
    };
    let owner = std::fs::metadata(data_directory)?.uid();
    match SocketPath::new(data_directory.join(directory), port) {
        Ok(socket) => socket.remove_of(dead, owner),
        Err(_) => Ok(false),
    }
}
