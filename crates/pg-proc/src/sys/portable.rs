//! Identity by what every Unix has.

use std::process::{Command, Stdio};

use nix::libc;
use rustix::io::Errno;

use super::process::{Began, Evidence, Identity, Process};
use crate::pid::Pid;
use crate::shared_memory_id::SharedMemoryId;

/// Without `/proc` there are two witnesses. The kernel records which process created the shared
/// memory segment that the lock file names, and whether anybody is attached: that is as good as
/// certain. Where that cannot be asked (the file is too old or too new to name it, or the segment
/// is another user's), `ps` tells the program's name and age.
pub(super) fn identify(evidence: &Evidence) -> Identity {
    let pid = evidence.pid;
    match rustix::process::test_kill_process(pid.rustix()) {
        Ok(()) => {}
        Err(Errno::PERM) => {
            return match Listing::of(pid) {
                Some(listing) if !listing.is_postgres() => Identity::OtherProgram(listing.program),
                listing => Identity::OtherUsers(listing.map(|l| l.uid)),
            };
        }
        Err(_) => return Identity::Gone,
    }
    let Some(listing) = Listing::of(pid) else {
        return Identity::Gone;
    };
    if listing.zombie {
        return Identity::Zombie;
    }
    if !listing.is_postgres() {
        return Identity::OtherProgram(listing.program);
    }
    let process = Process::Number {
        pid,
        began: began(pid),
    };
    match evidence.shared_memory.map(creator) {
        Some(Some(segment)) if segment.creator == pid.as_raw() && segment.attached > 0 => {
            Identity::Verified(process)
        }
        Some(Some(_)) => Identity::OtherDirectory,
        _ => match evidence.start_time {
            Some(recorded) if listing.began_at() > recorded.saturating_add(3) => {
                Identity::BeganLater
            }
            _ => Identity::Verified(process),
        },
    }
}

/// Whether this process created the segment and somebody is attached to it still.
pub(crate) fn is_attached_creator(id: SharedMemoryId, pid: Pid) -> bool {
    creator(id).is_some_and(|segment| segment.creator == pid.as_raw() && segment.attached > 0)
}

struct Segment {
    creator: libc::pid_t,
    attached: u64,
}

fn creator(id: SharedMemoryId) -> Option<Segment> {
    // SAFETY: all zeros is a value of this plain C struct, and the call fills it in.
    unsafe {
        let mut info: libc::shmid_ds = std::mem::zeroed();
        if libc::shmctl(id.id, libc::IPC_STAT, &mut info) != 0 {
            return None;
        }
        Some(Segment {
            creator: info.shm_cpid,
            attached: info.shm_nattch as u64,
        })
    }
}

/// Nothing tells what changes in a directory.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(crate) struct DirectoryEvents;

#[cfg(not(target_os = "linux"))]
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

/// Nothing tells the working directory of a process.
#[cfg(not(target_os = "linux"))]
pub(crate) fn orphans(_directory: (u64, u64)) -> Vec<Process> {
    Vec::new()
}

/// Nothing tells the working directory of a process.
#[cfg(not(target_os = "linux"))]
pub(crate) fn postmaster_in(_directory: (u64, u64)) -> Option<Process> {
    None
}

/// Nothing tells the state of a process.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_suspended(_pid: Pid) -> bool {
    false
}

/// Nothing tells the children of a process.
#[cfg(not(target_os = "linux"))]
pub(crate) fn titles_of_children(_parent: Pid) -> Vec<(Pid, String)> {
    Vec::new()
}

/// Nothing tells beforehand.
#[cfg(not(target_os = "linux"))]
pub(crate) fn limit_of_root(_uid: u32, _gid: u32) -> Option<crate::account::AccountErrorKind> {
    None
}

#[cfg(target_os = "linux")]
pub(super) fn began(pid: Pid) -> Option<Began> {
    super::linux::began(pid)
}

/// Seconds since 1970. `ps` tells the age in whole seconds, so it may come out differently by one.
#[cfg(not(target_os = "linux"))]
pub(super) fn began(pid: Pid) -> Option<Began> {
    let listing = Listing::of(pid)?;
    u64::try_from(listing.began_at()).ok().map(Began)
}

#[cfg(target_os = "linux")]
pub(super) fn has_ended(pid: Pid, began: Option<Began>) -> bool {
    super::linux::has_ended(pid, began)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn has_ended(pid: Pid, began: Option<Began>) -> bool {
    let Some(listing) = Listing::of(pid).filter(|listing| !listing.zombie) else {
        return true;
    };
    let now = u64::try_from(listing.began_at()).unwrap_or(0);
    began.is_some_and(|began| began.0.abs_diff(now) > 2)
}

/// A line of `ps`.
struct Listing {
    zombie: bool,
    uid: u32,
    age: i64,
    program: String,
}

impl Listing {
    fn of(pid: Pid) -> Option<Self> {
        let output = Command::new("ps")
            .args([
                "-o", "stat=", "-o", "uid=", "-o", "etime=", "-o", "comm=", "-p",
            ])
            .arg(pid.to_string())
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut words = text.split_whitespace();
        let stat = words.next()?;
        let uid = words.next()?.parse().ok()?;
        let age = age(words.next()?)?;
        let program = words.collect::<Vec<_>>().join(" ");
        Some(Self {
            zombie: stat.starts_with('Z'),
            uid,
            age,
            program,
        })
    }

    fn is_postgres(&self) -> bool {
        self.program.contains("postgres") || self.program.contains("postmaster")
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
