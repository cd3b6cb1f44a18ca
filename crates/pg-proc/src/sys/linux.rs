//! Identity by pidfd and `/proc`.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::PidfdFlags;
use rustix::time::ClockId;

use super::process::{Began, Evidence, Identity, Process};
use crate::account::AccountErrorKind;
use crate::pid::Pid;

/// How much later than its own record of its start a process may appear to have begun: the record
/// has whole seconds, and both clocks are read one after the other.
const CLOCK_TOLERANCE: i64 = 2;

pub(super) fn open_pidfd(pid: Pid) -> rustix::io::Result<OwnedFd> {
    rustix::process::pidfd_open(pid.rustix(), PidfdFlags::empty())
}

pub(super) fn identify(evidence: &Evidence) -> Identity {
    let pid = evidence.pid;
    // Held first, looked at second: what `/proc` says is about this process as long as it has not
    // ended afterwards.
    let process = match open_pidfd(pid) {
        Ok(fd) => Process::Descriptor { pid, fd },
        Err(rustix::io::Errno::SRCH) => return Identity::Gone,
        // No pidfd before Linux 5.3, and some sandboxes forbid it.
        Err(_) => Process::Number {
            pid,
            began: began(pid),
        },
    };
    match look(evidence) {
        Look::Same if process.has_ended() => Identity::Gone,
        Look::Same => Identity::Verified(process),
        Look::Not(identity) => identity,
    }
}

enum Look {
    Same,
    Not(Identity),
}

fn look(evidence: &Evidence) -> Look {
    let pid = evidence.pid;
    let Some(stat) = Stat::read(pid) else {
        // With hidepid=2 processes of others have no directory in /proc.
        return Look::Not(match rustix::process::test_kill_process(pid.rustix()) {
            Err(rustix::io::Errno::PERM) => Identity::OtherUsers(None),
            _ => Identity::Gone,
        });
    };
    if stat.has_ended() {
        return Look::Not(Identity::Zombie);
    }
    let began_later = match (stat.began_at(), evidence.start_time) {
        (Some(began), Some(recorded)) => began > recorded.saturating_add(CLOCK_TOLERANCE),
        _ => false,
    };
    let executable = fs::read_link(proc_path(pid, "exe"));
    let directory = fs::metadata(proc_path(pid, "cwd"));
    match (executable, directory) {
        (Ok(program), _) if !is_postgres(&program) => Look::Not(Identity::OtherProgram(stat.name)),
        (Ok(_), Ok(cwd)) if (cwd.dev(), cwd.ino()) != evidence.directory => {
            Look::Not(Identity::OtherDirectory)
        }
        // The clock may have been set since the record was written. Then the shared memory is a
        // witness without a clock.
        (Ok(_), Ok(_)) if began_later && !created_shared_memory(evidence) => {
            Look::Not(Identity::BeganLater)
        }
        (Ok(_), Ok(_)) => Look::Same,
        (Err(e), _) | (_, Err(e)) if e.kind() == io::ErrorKind::PermissionDenied => Look::Not(
            if !stat.name.contains("postgres") && !stat.name.contains("postmaster") {
                Identity::OtherProgram(stat.name)
            } else if began_later {
                Identity::BeganLater
            } else {
                Identity::OtherUsers(owner(pid))
            },
        ),
        _ => Look::Not(Identity::Gone),
    }
}

fn created_shared_memory(evidence: &Evidence) -> bool {
    evidence
        .shared_memory
        .is_some_and(|id| super::portable::is_attached_creator(id, evidence.pid))
}

/// Vendors call it `edb-postgres`, wrappers `.postgres-wrapped`; a program that was replaced by an
/// upgrade has ` (deleted)` behind its name.
fn is_postgres(program: &Path) -> bool {
    program.file_name().is_some_and(|name| {
        let name = name.to_string_lossy();
        name.contains("postgres") || name.contains("postmaster")
    })
}

fn owner(pid: Pid) -> Option<u32> {
    fs::metadata(format!("/proc/{pid}"))
        .ok()
        .map(|meta| meta.uid())
}

fn proc_path(pid: Pid, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

pub(super) fn began(pid: Pid) -> Option<Began> {
    Stat::read(pid).map(|stat| Began(stat.start_ticks))
}

pub(super) fn has_ended(pid: Pid, began: Option<Began>) -> bool {
    Stat::read(pid).is_none_or(|stat| {
        stat.has_ended() || began.is_some_and(|began| began.0 != stat.start_ticks)
    })
}

/// Processes whose parent is this one.
pub(crate) fn children(parent: Pid) -> Vec<Pid> {
    processes()
        .filter(|&pid| Stat::read(pid).is_some_and(|stat| stat.parent == parent.as_raw()))
        .collect()
}

/// Children of a postmaster of this directory that has gone. A living postmaster, which may be
/// about to start, and its children are none.
pub(crate) fn orphans(directory: (u64, u64)) -> Vec<Process> {
    parentless_servers_in(directory)
        .filter(Server::is_child)
        .map(|server| server.process)
        .collect()
}

/// The postmaster of this directory, for want of a lock file that can be read. Of several, all but
/// one have just found that file and are about to end; which one stays cannot be seen.
pub(crate) fn postmaster_in(directory: (u64, u64)) -> Option<Process> {
    let mut found = parentless_servers_in(directory).filter(Server::is_postmaster);
    let first = found.next()?;
    found.next().is_none().then_some(first.process)
}

/// Servers of this directory that no other server of it has started.
fn parentless_servers_in(directory: (u64, u64)) -> impl Iterator<Item = Server> {
    let here = servers_in(directory);
    let numbers: Vec<i32> = here
        .iter()
        .map(|server| server.process.pid().as_raw())
        .collect();
    here.into_iter()
        .filter(move |server| !numbers.contains(&server.parent))
}

/// A process of PostgreSQL that works in a data directory.
struct Server {
    process: Process,
    parent: i32,
    /// None of one that is on its way out: the kernel takes its program and its title first, and
    /// it is still attached to the shared memory for as long as it takes to free its own.
    title: Option<Vec<u8>>,
}

fn servers_in(directory: (u64, u64)) -> Vec<Server> {
    processes()
        .filter_map(|pid| Server::in_directory(pid, directory))
        .collect()
}

impl Server {
    fn in_directory(pid: Pid, directory: (u64, u64)) -> Option<Self> {
        // The name first: it is all that most processes are asked for.
        let stat = Stat::read(pid).filter(|stat| stat.name.contains("postgres"))?;
        let began = Some(Began(stat.start_ticks));
        let process = match open_pidfd(pid) {
            Ok(fd) => Process::Descriptor { pid, fd },
            Err(rustix::io::Errno::SRCH) => return None,
            Err(_) => Process::Number { pid, began },
        };
        let cwd = fs::metadata(proc_path(pid, "cwd")).ok()?;
        let title = match fs::read_link(proc_path(pid, "exe")) {
            Ok(program) if is_postgres(&program) => fs::read(proc_path(pid, "cmdline"))
                .ok()
                .filter(|title| !title.is_empty()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            _ => return None,
        };
        let same = (cwd.dev(), cwd.ino()) == directory;
        // All of that was said of the process that is held if it is still the same.
        (same && !has_ended(pid, began)).then_some(Self {
            process,
            parent: stat.parent,
            title,
        })
    }

    /// A postmaster keeps its command line; its children replace theirs (`init_ps_display`).
    /// One that is on its way out does no more than a child that was left alone.
    fn is_child(&self) -> bool {
        self.title
            .as_ref()
            .is_none_or(|title| title.starts_with(b"postgres: "))
    }

    /// Other modes than the postmaster's have to be named by the first argument
    /// (`src/backend/main/main.c`).
    fn is_postmaster(&self) -> bool {
        const OTHER_MODES: [&[u8]; 5] = [
            b"--single",
            b"--boot",
            b"--check",
            b"--describe-config",
            b"-C",
        ];
        let Some(title) = &self.title else {
            return false;
        };
        let mode = title.split(|&byte| byte == 0).nth(1).unwrap_or_default();
        !self.is_child() && !OTHER_MODES.contains(&mode)
    }
}

/// Whether the process is stopped by a signal or a debugger (`T` and `t` in proc_pid_stat(5)).
pub(crate) fn is_suspended(pid: Pid) -> bool {
    Stat::read(pid).is_some_and(|stat| matches!(stat.state, b'T' | b't'))
}

/// The children of a process with their command lines, which servers replace by what they do.
pub(crate) fn titles_of_children(parent: Pid) -> Vec<(Pid, String)> {
    let title = |pid: Pid| {
        let bytes = fs::read(proc_path(pid, "cmdline")).ok()?;
        let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
        let text = text.trim();
        (!text.is_empty()).then(|| (pid, text.to_owned()))
    };
    children(parent).into_iter().filter_map(title).collect()
}

/// Why this process, whose user is called root, cannot take on another account, by what the kernel
/// says of it (proc_pid_status(5), user_namespaces(7)); none if it can, as far as that is told.
pub(crate) fn limit_of_root(uid: u32, gid: u32) -> Option<AccountErrorKind> {
    /// By number (`include/uapi/linux/capability.h`).
    const NEEDED: [(u32, &str); 3] = [(0, "CAP_CHOWN"), (6, "CAP_SETGID"), (7, "CAP_SETUID")];
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let effective = field("Uid:")?.split_ascii_whitespace().nth(1)?;
    let user: u32 = effective.parse().ok()?;
    if user != 0 {
        return Some(AccountErrorKind::Fake(user));
    }
    if !is_mapped("/proc/self/uid_map", uid) || !is_mapped("/proc/self/gid_map", gid) {
        return Some(AccountErrorKind::NotMapped);
    }
    let held = u64::from_str_radix(field("CapEff:")?.trim(), 16).ok()?;
    let missing: Vec<_> = NEEDED
        .into_iter()
        .filter(|(number, _)| held >> number & 1 == 0)
        .map(|(_, name)| name)
        .collect();
    // A directory that belongs to the account already need not be given away.
    (!missing.is_empty() && missing != ["CAP_CHOWN"])
        .then_some(AccountErrorKind::Capabilities(missing))
}

/// Whether a user or group exists in this user namespace. Each line has the first of a range here,
/// the first outside, and the length.
fn is_mapped(map: &str, id: u32) -> bool {
    fs::read_to_string(map).is_ok_and(|map| {
        map.lines().any(|line| {
            let mut numbers = line.split_ascii_whitespace().map(str::parse::<u64>);
            let (Some(Ok(first)), _, Some(Ok(length))) =
                (numbers.next(), numbers.next(), numbers.next())
            else {
                return true;
            };
            (first..first.saturating_add(length)).contains(&u64::from(id))
        })
    })
}

/// Processor time that a process has used, in ticks.
pub(crate) fn cpu_ticks(pid: Pid) -> Option<u64> {
    Stat::read(pid).map(|stat| stat.cpu_ticks)
}

fn processes() -> impl Iterator<Item = Pid> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// `/proc/PID/stat`, as far as it is needed here.
pub(crate) struct Stat {
    pub(crate) name: String,
    state: u8,
    pub(crate) parent: i32,
    pub(crate) cpu_ticks: u64,
    pub(crate) start_ticks: u64,
}

impl Stat {
    pub(crate) fn read(pid: Pid) -> Option<Self> {
        Self::parse(&fs::read(proc_path(pid, "stat")).ok()?)
    }

    /// The name stands between parentheses and may contain some.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, tail) = text.rsplit_once(')')?;
        let (_, name) = head.split_once('(')?;
        let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
        // The manual counts from 1, the number of the process; the state behind the name is the
        // third.
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            name: name.to_owned(),
            state: *fields.first()?.as_bytes().first()?,
            parent: i32::try_from(number(4)?).ok()?,
            cpu_ticks: number(14)?.saturating_add(number(15)?),
            start_ticks: number(22)?,
        })
    }

    fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Seconds since 1970, by the clock as it is set now.
    fn began_at(&self) -> Option<i64> {
        let per_second = rustix::param::clock_ticks_per_second();
        let since_boot = i64::try_from(self.start_ticks.checked_div(per_second)?).ok()?;
        let now = rustix::time::clock_gettime(ClockId::Realtime).tv_sec;
        let uptime = rustix::time::clock_gettime(ClockId::Boottime).tv_sec;
        Some(now - uptime + since_boot)
    }
}
