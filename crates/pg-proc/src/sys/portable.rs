//! Identity by what every Unix has.

use std::process::{Command, Stdio};

use rustix::io::Errno;

#[cfg(not(all(target_os = "linux", not(pg_portable))))]
use super::process::DirectoryId;
use super::process::{Began, CLOCK_TOLERANCE, Evidence, Identity, Process};
use super::segments::MadeFor;
use crate::pid::Pid;

/// Without `/proc` there are two witnesses. The kernel records which process created the shared
/// memory segment that the lock file names, and whether anybody is attached, and the segment names
/// its data directory: that is as good as certain. Where that cannot be asked (the file is too old
/// or too new to name it, or the segment is gone), `ps` tells the program's name and age.
pub(super) fn identify(evidence: &Evidence) -> Identity {
    let pid = evidence.pid;
    let is_ours = match rustix::process::test_kill_process(pid.rustix()) {
        Ok(()) => true,
        Err(Errno::PERM) => false,
        Err(_) => return Identity::Gone,
    };
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
    };
    if let Some(segment) = evidence.segment() {
        // A process that got the number later is not older than the segment.
        let is_older = listing.as_ref().map_or(true, |ps| {
            ps.began_at() <= segment.created + CLOCK_TOLERANCE
        });
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
        Some(recorded) if listing.began_at() > recorded.saturating_add(CLOCK_TOLERANCE) => {
            Identity::BeganLater
        }
        _ => Identity::Verified(process),
    }
}

/// Changes in a directory are not reported portably.
#[cfg(not(all(target_os = "linux", not(pg_portable))))]
#[derive(Debug)]
pub(crate) struct DirectoryEvents;

#[cfg(not(all(target_os = "linux", not(pg_portable))))]
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

/// Seconds since 1970. `ps` prints the age in whole seconds, so it may come out differently by one.
#[cfg(not(all(target_os = "linux", not(pg_portable))))]
pub(super) fn began(pid: Pid) -> Option<Began> {
    let listing = Listing::of(pid).ok()?;
    u64::try_from(listing.began_at()).ok().map(Began)
}

#[cfg(all(target_os = "linux", not(pg_portable)))]
pub(super) fn has_ended(pid: Pid, began: Option<Began>) -> bool {
    super::linux::has_ended(pid, began)
}

#[cfg(not(all(target_os = "linux", not(pg_portable))))]
pub(super) fn has_ended(pid: Pid, began: Option<Began>) -> bool {
    match Listing::of(pid) {
        Ok(listing) => {
            let now = u64::try_from(listing.began_at()).unwrap_or(0);
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

/// A line of `ps`.
struct Listing {
    /// The first letter: `Z` for a zombie.
    state: u8,
    uid: u32,
    age: i64,
    program: String,
}

/// Why `ps` does not list a process.
enum Unlisted {
    Absent,
    /// There is no `ps`, or one that does not work, or does not show this process.
    NoMeans,
}

impl Listing {
    fn of(pid: Pid) -> Result<Self, Unlisted> {
        let output = Command::new("ps")
            .args([
                "-o", "stat=", "-o", "uid=", "-o", "etime=", "-o", "comm=", "-p",
            ])
            .arg(pid.to_string())
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .map_err(|_| Unlisted::NoMeans)?;
        let text = String::from_utf8_lossy(&output.stdout);
        Self::parse(&text).ok_or_else(|| {
            // Processes of others may be hidden from `ps`, and not from this.
            match rustix::process::test_kill_process(pid.rustix()) {
                Err(Errno::SRCH) => Unlisted::Absent,
                _ => Unlisted::NoMeans,
            }
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let state = *words.next()?.as_bytes().first()?;
        let uid = words.next()?.parse().ok()?;
        let age = age(words.next()?)?;
        let program = words.collect::<Vec<_>>().join(" ");
        Some(Self {
            state,
            uid,
            age,
            program,
        })
    }

    /// The program's own name, and not one that contains it. On macOS it is a path.
    fn is_postgres(&self) -> bool {
        let name = self.program.rsplit('/').next().unwrap_or_default();
        ["postgres", "postmaster", "edb-postgres"].contains(&name)
    }

    fn began_at(&self) -> i64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
        now.saturating_sub(self.age)
    }
}

/// `[[days-]hours:]minutes:seconds`
fn age(text: &str) -> Option<i64> {
    let (days, clock) = text.split_once('-').unwrap_or(("0", text));
    let mut seconds: i64 = days.parse().ok()?;
    let mut parts: Vec<i64> = Vec::new();
    for part in clock.split(':') {
        parts.push(part.parse().ok()?);
    }
    let [hours, minutes, secs] = match parts.as_slice() {
        [m, s] => [0, *m, *s],
        [h, m, s] => [*h, *m, *s],
        _ => return None,
    };
    seconds = seconds.checked_mul(24)?.checked_add(hours)?;
    seconds = seconds.checked_mul(60)?.checked_add(minutes)?;
    seconds.checked_mul(60)?.checked_add(secs)
}
