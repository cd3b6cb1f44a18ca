//! A server that several processes share.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8Path;
use nix::libc;
use rustix::fs::{Mode, OFlags};

use crate::sys;

/// Lets a server live as long as any process uses it, and no longer.
///
/// Every user holds a FIFO open for writing ([`Tenant`]), and the server's warden holds it open for
/// reading. The kernel counts the users, and reports the exit of each, whatever its cause. When no
/// user is left, the warden waits a while for another, and then shuts the server down.
///
/// Users enter while they hold the [lock](crate::DirectoryLock) of a directory. The warden acquires
/// the same lock to decide on the shutdown, and closes its side of the FIFO before it releases the
/// lock. So a server stays for every process that has [entered](Tenant::enter).
#[derive(Clone, Debug)]
pub struct Tenancy {
    pub(crate) users: Arc<OwnedFd>,
    pub(crate) lock: CString,
    pub(crate) linger: Duration,
}

/// One user of a shared server; it leaves when this is dropped or its process ends.
#[derive(Debug)]
pub struct Tenant {
    _users: OwnedFd,
}

impl Tenancy {
    /// Makes the FIFO, which must not exist, readable and writable for this user only.
    ///
    /// `lock_directory` is the directory that users lock to enter. `linger` is how long a server
    /// without users is kept.
    ///
    /// # Errors
    ///
    /// Fails if the FIFO cannot be made.
    pub fn create(
        fifo: &Utf8Path,
        lock_directory: &Utf8Path,
        linger: Duration,
    ) -> io::Result<Self> {
        let path = CString::new(fifo.as_str())?;
        let lock = CString::new(lock_directory.as_str())?;
        sys::make_fifo(&path)?;
        Ok(Self {
            users: Arc::new(open(fifo, OFlags::RDONLY)?),
            lock,
            linger,
        })
    }
}

impl Tenant {
    /// Becomes a user of the server whose FIFO this is; none if it has no server any more, or never
    /// had one.
    ///
    /// To be called with the lock of the [`Tenancy`] held.
    ///
    /// # Errors
    ///
    /// Fails if the FIFO cannot be opened.
    pub fn enter(fifo: impl AsRef<Utf8Path>) -> io::Result<Option<Self>> {
        let fifo = fifo.as_ref();
        match open(fifo, OFlags::WRONLY) {
            Ok(users) => Ok(Some(Self { _users: users })),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENXIO | libc::ENOENT)) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn open(fifo: &Utf8Path, access: OFlags) -> io::Result<OwnedFd> {
    let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::open(fifo.as_std_path(), flags, Mode::empty())?;
    sys::above_standard(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_user_enters_without_a_warden() {
        let room = tempfile::tempdir().unwrap();
        let room = Utf8Path::from_path(room.path()).unwrap();
        let fifo = room.join("users");
        assert!(Tenant::enter(&fifo).unwrap().is_none());
        let tenancy = Tenancy::create(&fifo, room, Duration::ZERO).unwrap();
        assert!(Tenant::enter(&fifo).unwrap().is_some());
        drop(tenancy);
        assert!(Tenant::enter(&fifo).unwrap().is_none());
    }
}
