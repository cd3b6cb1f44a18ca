//! Identity by what every Unix has.

use rustix::io::Errno;

use super::listing::{Listing, Unlisted};
#[cfg(not(all(target_os = "linux", not(pg_portable))))]
use super::process::DirectoryId;
use super::process::{Began, CLOCK_TOLERANCE, Evidence, Identity, Process};
use super::segments::MadeFor;
use crate::pid::Pid;

/// Without `/proc` there are two kinds of evidence. The kernel records which process created the
/// shared memory segment that the lock file names, and whether any process is attached, and the
/// segment names its data directory: this is nearly certain. If the segment cannot be examined (the
/// file is too old or too new to name it, or the segment was removed), `ps` shows the program's
/// name and age.
pub(super) fn identify(evidence: &Evidence) -> Identity {
    let pid = evidence.pid;
    let is_ours = match rustix::process::test_kill_process(pid.rustix()) {
        Ok(()) => true,
        Err(Errno::PERM) => false,
        Err(_) => return Identity::Gone,
    };
    // Opened first, examined second: see `linux::identify`.
    let end = end_of(pid);
    let listing = Listing::of(pid);
    let unknown = || Identity::Unknown(listing.as_ref().ok().map(|listing| listing.uid));
    match &listing {
        Ok(listing) if listing.state == b'Z' => return Identity::Zombie,
        // It has exited since.
        Err(Unlisted::Absent) => return Identity::Gone,
        _ => {}
    }
    let process = Process::Number {
        pid,
        began: began(pid),
        end,
    };
    if let Some(segment) = evidence.segment() {
        // A process that got the number later is not older than the segment.
        let is_older = listing
            .as_ref()
            .map_or(true, |ps| ps.began <= segment.created + CLOCK_TOLERANCE);
        match segment.made_for(evidence.directory) {
            MadeFor::This if !is_ours => return unknown(),
            MadeFor::This if is_older => return Identity::Verified(process),
            MadeFor::This => {}
            MadeFor::Another => return Identity::OtherDirectory,
            MadeFor::Unknown => return unknown(),
        }
    }
    let Ok(listing) = listing else {
        return Identity::Unknown(None);
    };
    if !listing.is_postgres() {
        return Identity::OtherProgram(listing.program);
    }
    if !is_ours {
        return Identity::Unknown(Some(listing.uid));
    }
    match evidence.start_time {
        Some(recorded) if listing.began > recorded.saturating_add(CLOCK_TOLERANCE) => {
            Identity::BeganLater
        }
        _ => Identity::Verified(process),
    }
}

/// No portable mechanism reports the exit of a process.
#[cfg(not(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd"
)))]
pub(super) fn end_of(_pid: Pid) -> Option<std::os::fd::OwnedFd> {
    None
}

#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd"
))]
pub(super) use super::kqueue::end_of;

/// Changes in a directory are not reported portably.
#[cfg(all(target_os = "linux", pg_portable))]
#[derive(Debug)]
pub(crate) struct DirectoryEvents;

#[cfg(all(target_os = "linux", pg_portable))]
impl DirectoryEvents {
    pub(crate) fn of(_path: &camino::Utf8Path) -> Option<Self> {
        None
    }

    pub(crate) fn of_closing(_path: &camino::Utf8Path) -> Option<Self> {
        None
    }

    pub(crate) fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }

    pub(crate) fn forget(&self) {}
}

/// The working directory of a process cannot be read portably.
#[cfg(not(all(target_os = "linux", not(pg_portable))))]
pub(crate) fn orphans(_directory: DirectoryId) -> Vec<Process> {
    Vec::new()
}

/// The working directory of a process cannot be read portably.
#[cfg(not(all(target_os = "linux", not(pg_portable))))]
pub(crate) fn postmaster_in(_directory: DirectoryId) -> Option<Process> {
    None
}

/// The functions of the C library change the rights of all threads.
#[cfg(not(all(target_os = "linux", not(pg_portable))))]
pub(crate) fn with_rights_of<T>(_: u32, _: u32, _: &[u32], _: impl FnOnce() -> T) -> Option<T> {
    None
}

/// The state of a process cannot be read portably.
#[cfg(not(all(target_os = "linux", not(pg_portable))))]
pub(crate) fn is_suspended(_pid: Pid) -> bool {
    false
}

/// The children of a process cannot be listed portably.
#[cfg(not(all(target_os = "linux", not(pg_portable))))]
pub(crate) fn titles_of_children(_parent: Pid) -> Vec<(Pid, String)> {
    Vec::new()
}

/// The children of a process cannot be listed portably.
#[cfg(not(all(target_os = "linux", not(pg_portable))))]
pub(crate) fn open_children(_parent: Pid) -> Vec<Process> {
    Vec::new()
}

/// This cannot be determined beforehand.
#[cfg(not(all(target_os = "linux", not(pg_portable))))]
pub(crate) fn limit_of_root(_uid: u32, _gid: u32) -> Option<crate::account::AccountErrorKind> {
    None
}

#[cfg(all(target_os = "linux", not(pg_portable)))]
pub(super) fn began(pid: Pid) -> Option<Began> {
    super::linux::began(pid)
}

/// Seconds since 1970. Where `ps` prints the age in whole seconds, they may differ by one.
#[cfg(not(all(target_os = "linux", not(pg_portable))))]
pub(super) fn began(pid: Pid) -> Option<Began> {
    let listing = Listing::of(pid).ok()?;
    u64::try_from(listing.began).ok().map(Began)
}

#[cfg(all(target_os = "linux", not(pg_portable)))]
pub(super) fn has_ended(pid: Pid, began: Option<Began>) -> bool {
    super::linux::has_ended(pid, began)
}

#[cfg(not(all(target_os = "linux", not(pg_portable))))]
pub(super) fn has_ended(pid: Pid, began: Option<Began>) -> bool {
    match Listing::of(pid) {
        Ok(listing) => {
            let now = u64::try_from(listing.began).unwrap_or(0);
            listing.state == b'Z' || began.is_some_and(|began| began.0.abs_diff(now) > 2)
        }
        Err(Unlisted::Absent) => true,
        Err(Unlisted::NoMeans) => {
            rustix::process::test_kill_process(pid.rustix()) == Err(Errno::SRCH)
        }
    }
}

/// The arguments of a process cannot be read portably.
#[cfg(not(all(target_os = "linux", not(pg_portable))))]
pub(crate) fn is_single_user(_pid: Pid) -> bool {
    false
}
