//! The Unix socket of a server, and its lock file.

use std::borrow::Cow;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use thiserror::Error;

use crate::files::pid_file::{PidFile, PidFileError};

/// Most bytes that the path of a Unix socket can have on this platform: 107 on Linux, 103
/// elsewhere.
pub const MAX_SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The Unix socket of a server: `.s.PGSQL.PORT` in one of its socket directories, with a lock file
/// beside it.
///
/// (`UNIXSOCK_PATH` in `src/include/libpq/pqcomm.h`, `CreateSocketLockFile` in
/// `src/backend/utils/init/miscinit.c`.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketPath {
    socket: Utf8PathBuf,
}

impl SocketPath {
    /// The socket for a port, in a directory.
    ///
    /// # Errors
    ///
    /// Fails if the path is longer than [`MAX_SOCKET_PATH`].
    pub fn new(directory: impl AsRef<Utf8Path>, port: u16) -> Result<Self, SocketPathError> {
        let directory = directory.as_ref();
        let socket = directory.join(format!(".s.PGSQL.{port}"));
        match socket.as_str().len() {
            0..=MAX_SOCKET_PATH => Ok(Self { socket }),
            _ => Err(SocketPathError { path: socket }),
        }
    }

    /// The socket.
    pub fn socket(&self) -> &Utf8Path {
        &self.socket
    }

    /// The directory of the socket.
    pub fn directory(&self) -> &Utf8Path {
        self.socket.parent().unwrap_or(&self.socket)
    }

    /// The lock file that keeps two servers from using the socket.
    pub fn lock_file(&self) -> Utf8PathBuf {
        format!("{}.lock", self.socket).into()
    }

    /// Reads the lock file, which names the process and the data directory that use the socket.
    /// None if no process uses it.
    ///
    /// Like `postmaster.pid`, the file is a claim. [`Postmaster::find`](crate::Postmaster::find),
    /// with the data directory from the file, checks it. The file has only the first five lines of
    /// a `postmaster.pid`.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or was not written by a server.
    pub fn read_lock(&self) -> Result<Option<PidFile>, PidFileError> {
        PidFile::read_file(self.lock_file())
    }
}

impl SocketPath {
    /// Removes the socket and its lock file if they are what this server has left: the lock file
    /// names the same process and data directory, and belongs to this user ID. Returns whether
    /// they were.
    pub(crate) fn remove_of(&self, dead: &PidFile, uid: u32) -> io::Result<bool> {
        let Ok(Some(lock)) = self.read_lock() else {
            return Ok(false);
        };
        let lock_file = self.lock_file();
        let is_same = (lock.pid, &lock.data_directory) == (dead.pid, &dead.data_directory);
        if !is_same || std::fs::symlink_metadata(&lock_file)?.uid() != uid {
            return Ok(false);
        }
        // The names only, not what a link leads to; the lock last, as long as there is a socket.
        for path in [&self.socket, &lock_file] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(true)
    }
}

/// The path of a Unix socket is longer than the system allows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the socket path {path} has {} bytes, more than {MAX_SOCKET_PATH}", .path.as_str().len())]
pub struct SocketPathError {
    path: Utf8PathBuf,
}

impl SocketPathError {
    /// The path.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Advice on how to get a shorter path.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        Some("use a socket directory with a shorter path".into())
    }
}
