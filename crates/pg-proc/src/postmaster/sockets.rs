//! The processes that hold the addresses of a server, and the sockets that a killed one leaves.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use crate::deadline::Deadline;
use crate::files::socket::SocketPath;
use crate::fs::directory_lock::DirectoryLock;
use crate::pid::Pid;
use crate::postmaster::find::{Found, Stale, StaleReason};
use crate::postmaster::handle::Postmaster;
use crate::postmaster::ping::{Endpoint, Ping, ping};
use crate::sys;

/// The longest time in which a listening process may respond.
const PATIENCE: Duration = Duration::from_secs(1);

/// An address at which another process listens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TakenAddress {
    /// A TCP address with port, or the path of a Unix socket.
    pub address: String,
    /// The process, if the lock file of the socket names it or its descriptors can be read.
    pub pid: Option<Pid>,
    /// The data directory of the server that listens, if it is known.
    pub data_directory: Option<Utf8PathBuf>,
}

impl TakenAddress {
    /// An address whose holder is not known.
    pub fn new(address: impl fmt::Display) -> Self {
        Self {
            address: address.to_string(),
            pid: None,
            data_directory: None,
        }
    }

    /// The running server of a socket, by its lock file, even if the `postmaster.pid` of that
    /// server is lost; none if no process listens.
    pub fn of_socket(socket: &SocketPath) -> Option<Self> {
        let lock = socket.read_lock().ok().flatten();
        let data_directory = lock.as_ref().and_then(|lock| lock.data_directory.clone());
        let find = |directory| Postmaster::find(directory).ok();
        let pid = match data_directory.as_ref().and_then(find) {
            Some(Found::Running(server)) => Some(server.pid()),
            Some(Found::Unknown { pid, .. }) => Some(pid),
            _ if is_served(socket) => lock.map(|lock| lock.pid),
            _ => return None,
        };
        Some(Self {
            pid,
            data_directory,
            ..Self::new(socket.socket())
        })
    }

    /// The process that listens on a TCP address, found by listening with the socket options of a
    /// server; none if the address is free.
    pub fn of_tcp(address: SocketAddr) -> Option<Self> {
        let error = TcpListener::bind(address).err()?;
        (error.kind() == io::ErrorKind::AddrInUse).then(|| Self {
            pid: sys::tcp_listener(address.port()),
            ..Self::new(address)
        })
    }
}

impl fmt::Display for TakenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)?;
        match (self.pid, &self.data_directory) {
            (Some(pid), Some(path)) => write!(f, " of process {pid}, the server of {path},"),
            (Some(pid), None) => write!(f, " of process {pid}"),
            _ => Ok(()),
        }
    }
}

/// A process that the lock file of a socket names and that did not write it: no process holds the
/// data directory of the server that did, and no process listens.
pub fn bystander_of_socket(socket: &SocketPath) -> Option<Pid> {
    let lock = socket.read_lock().ok().flatten()?;
    let found = Postmaster::find(lock.data_directory.as_ref()?).ok()?;
    let is_left_over = matches!(found, Found::Nothing | Found::Stale(_)) && !is_served(socket);
    is_left_over.then_some(lock.pid)
}

/// Returns whether any process listens on the socket, a PostgreSQL server or another one.
fn is_served(socket: &SocketPath) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
    match ping(&Endpoint::unix(socket.clone()), PATIENCE) {
        Ping::NoResponse(error) => {
            ![ConnectionRefused, NotFound, PermissionDenied].contains(&error.kind())
        }
        _ => true,
    }
}

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
/// Fails if the socket cannot be removed.
pub fn remove_dead_socket(data_directory: impl AsRef<Utf8Path>) -> io::Result<bool> {
    let data_directory = data_directory.as_ref();
    let Ok(_turn) = DirectoryLock::acquire(data_directory, Deadline::after(Duration::ZERO)) else {
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
