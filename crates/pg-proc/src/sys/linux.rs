//! Identity by pidfd, `/proc` and the kernel's record of shared memory.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::process::PidfdFlags;
use rustix::time::ClockId;

use super::borrowed::Borrowed;
use super::executable;
use super::portable;
use super::process::{Began, CLOCK_TOLERANCE, DirectoryId, Evidence, Identity, Process};
use super::segments::MadeFor;
use crate::account::AccountErrorKind;
use crate::pid::Pid;
use crate::signal::Signal;

pub(super) fn open_pidfd(pid: Pid) -> rustix::io::Result<OwnedFd> {
    rustix::process::pidfd_open(pid.rustix(), PidfdFlags::empty())
}

pub(super) fn identify(evidence: &Evidence) -> Identity {
    let pid = evidence.pid;
    // The process is opened first and examined second: the content of `/proc` describes this
    // process if it has not exited afterwards.
    let process = match open_pidfd(pid) {
        Ok(fd) => Process::Descriptor { pid, fd },
        Err(Errno::SRCH) => return Identity::Gone,
        // No pidfd before Linux 5.3, and some sandboxes forbid it.
        Err(_) => Process::Number {
            pid,
            began: began(pid),
            end: None,
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

/// The evidence in order: the working directory with the shared memory, whatever the program is
/// called (an emulator, valgrind, the loader); the working directory with the program; the shared
/// memory with its own record of the directory.
fn look(evidence: &Evidence) -> Look {
    let pid = evidence.pid;
    let Some(stat) = Stat::read(pid) else {
        return match portable::identify(evidence) {
            Identity::Verified(_) => Look::Same,
            other => Look::Not(other),
        };
    };
    if stat.has_ended() {
        return Look::Not(Identity::Zombie);
    }
    let status = Status::read(pid);
    let other_program = || Look::Not(Identity::OtherProgram(stat.name.clone()));
    // `/proc` has a directory for each thread as well, which is not listed.
    if status.as_ref().is_some_and(|status| status.process != pid) {
        return other_program();
    }
    let segment = evidence.segment();
    let cwd = match working_directory(pid, status.as_ref()) {
        Ok(cwd) => cwd,
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            let Some(segment) = segment else {
                return unseen(evidence, &stat, status.as_ref());
            };
            // A process that got the number later is not older than the segment.
            let is_older = stat
                .began_at()
                .is_some_and(|began| began <= segment.created + CLOCK_TOLERANCE);
            return match segment.made_for(evidence.directory) {
                MadeFor::This if is_older && may_signal(pid) => Look::Same,
                MadeFor::Another => Look::Not(Identity::OtherDirectory),
                _ => Look::Not(Identity::Unknown(status.map(|status| status.user))),
            };
        }
        Err(_) => return Look::Not(Identity::Gone),
    };
    if cwd != (evidence.directory.device, evidence.directory.inode) {
        return match runs_server(pid, status.as_ref()) {
            Ok(false) => other_program(),
            Ok(true) => Look::Not(Identity::OtherDirectory),
            // Its program does not matter: it works elsewhere.
            Err(_) => Look::Not(Identity::OtherDirectory),
        };
    }
    if segment.is_some() {
        return Look::Same;
    }
    match runs_server(pid, status.as_ref()) {
        Ok(true) if Title::read(pid).holds_directory() => Look::Same,
        Ok(_) => other_program(),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            Look::Not(Identity::Unknown(status.map(|status| status.user)))
        }
        Err(_) => Look::Not(Identity::Gone),
    }
}

/// A process that cannot be examined, and did not make shared memory that still exists.
fn unseen(evidence: &Evidence, stat: &Stat, status: Option<&Status>) -> Look {
    let user = status.map(|status| status.user);
    // A server runs as the owner of its directory.
    if user.is_some_and(|user| user != evidence.directory.owner) {
        return Look::Not(Identity::OtherProgram(stat.name.clone()));
    }
    let began_later = match (stat.began_at(), evidence.start_time) {
        (Some(began), Some(recorded)) => began > recorded.saturating_add(CLOCK_TOLERANCE),
        _ => false,
    };
    Look::Not(match began_later {
        true => Identity::BeganLater,
        false => Identity::Unknown(user),
    })
}

fn may_signal(pid: Pid) -> bool {
    rustix::process::test_kill_process(pid.rustix()) != Err(Errno::PERM)
}

pub(super) fn working_directory(pid: Pid, status: Option<&Status>) -> io::Result<(u64, u64)> {
    let look = || fs::metadata(proc_path(pid, "cwd")).map(|cwd| (cwd.dev(), cwd.ino()));
    as_its_account(status, look)
}

pub(super) fn runs_server(pid: Pid, status: Option<&Status>) -> io::Result<bool> {
    let look = || executable::is_server(File::open(proc_path(pid, "exe"))?);
    as_its_account(status, look)
}

/// Looks as the account of the process, if the caller itself may not: links in `/proc` are for
/// that account and for CAP_SYS_PTRACE, which root does not have in a container of Docker's.
pub(super) fn as_its_account<T>(
    status: Option<&Status>,
    look: impl Fn() -> io::Result<T>,
) -> io::Result<T> {
    match look() {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            let account =
                status.and_then(|status| Borrowed::account(status.user, Some(status.group)));
            account.map_or(Err(e), |_account| look())
        }
        outcome => outcome,
    }
}

pub(super) fn proc_path(pid: Pid, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

pub(super) fn began(pid: Pid) -> Option<Began> {
    Stat::read(pid).map(|stat| Began(stat.start_ticks))
}

pub(super) fn has_ended(pid: Pid, began: Option<Began>) -> bool {
    match Stat::read(pid) {
        Some(stat) => stat.has_ended() || began.is_some_and(|began| began.0 != stat.start_ticks),
        // Without `/proc`, or if it hides other users' processes, this is the only evidence.
        None => rustix::process::test_kill_process(pid.rustix()) == Err(Errno::SRCH),
    }
}

/// Returns whether the process catches or ignores a signal.
pub(super) fn handles(pid: Pid, signal: Signal) -> Option<bool> {
    let status = Status::read(pid)?;
    Some(status.handled >> (signal.as_raw() - 1) & 1 == 1)
}

/// Processes whose parent is this one. The kernel may have been built without the list.
pub(crate) fn children(parent: Pid) -> Vec<Pid> {
    match fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")) {
        Ok(list) => list
            .split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect(),
        Err(_) => processes()
            .filter(|&pid| Stat::read(pid).is_some_and(|stat| stat.parent == parent.as_raw()))
            .collect(),
    }
}

/// The children of a process, opened. Each is opened before its parent is examined: a process that
/// has not exited by then is a child, whatever process had its PID before.
pub(crate) fn open_children(parent: Pid) -> Vec<Process> {
    let open = |pid: Pid| {
        let process = Process::open_child(pid);
        let is_child =
            Stat::read(pid).is_some_and(|stat| stat.parent == parent.as_raw() && !stat.has_ended());
        (is_child && !process.has_ended()).then_some(process)
    };
    children(parent).into_iter().filter_map(open).collect()
}

/// The children of a postmaster of this directory that has exited. A running postmaster, which may
/// be about to start, and its children do not count. Examines every process of the machine.
pub(crate) fn orphans(directory: DirectoryId) -> Vec<Process> {
    parentless_servers_in(directory)
        .filter(|server| server.title.is_of_child())
        .map(|server| server.process)
        .collect()
}

/// The postmaster of this directory, if neither a readable lock file nor shared memory shows it. If
/// there are several, all but one have just found that file and are about to exit; it cannot be
/// determined which one stays. Examines every process of the machine.
pub(crate) fn postmaster_in(directory: DirectoryId) -> Option<Process> {
    let mut found =
        parentless_servers_in(directory).filter(|server| server.title.is_of_postmaster());
    let first = found.next()?;
    found.next().is_none().then_some(first.process)
}

/// Returns whether the process was started as something other than a postmaster.
pub(crate) fn is_single_user(pid: Pid) -> bool {
    Title::read(pid).is_single_user()
}

/// Servers of this directory that no other server of it has started.
fn parentless_servers_in(directory: DirectoryId) -> impl Iterator<Item = Server> {
    let mut programs = Programs::default();
    let here: Vec<Server> = processes()
        .filter_map(|pid| Server::in_directory(pid, directory, &mut programs))
        .collect();
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
    title: Title,
}

/// Records which of the examined programs are servers, by device and inode.
#[derive(Default)]
struct Programs(Vec<((u64, u64), bool)>);

impl Programs {
    fn is_server(&mut self, program: File) -> io::Result<bool> {
        let meta = program.metadata()?;
        let id = (meta.dev(), meta.ino());
        if let Some(&(_, known)) = self.0.iter().find(|(known, _)| *known == id) {
            return Ok(known);
        }
        let is_server = executable::is_server(program)?;
        self.0.push((id, is_server));
        Ok(is_server)
    }
}

impl Server {
    fn in_directory(pid: Pid, directory: DirectoryId, programs: &mut Programs) -> Option<Self> {
        if pid == Pid::current() {
            return None;
        }
        // The name is checked first, which rules out most processes. It proves nothing.
        let stat = Stat::read(pid).filter(|stat| stat.name.contains("postgres"))?;
        let began = Some(Began(stat.start_ticks));
        let process = match open_pidfd(pid) {
            Ok(fd) => Process::Descriptor { pid, fd },
            Err(Errno::SRCH) => return None,
            Err(_) => Process::Number {
                pid,
                began,
                end: None,
            },
        };
        let status = Status::read(pid);
        let cwd = working_directory(pid, status.as_ref()).ok()?;
        if cwd != (directory.device, directory.inode) {
            return None;
        }
        let open = || File::open(proc_path(pid, "exe"));
        let is_server = as_its_account(status.as_ref(), open).and_then(|it| programs.is_server(it));
        let title = match is_server {
            Ok(true) => Title::read(pid),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Title(Vec::new()),
            _ => return None,
        };
        // All of this describes the opened process only if the process still exists.
        (!has_ended(pid, began)).then_some(Self {
            process,
            parent: stat.parent,
            title,
        })
    }
}

/// The command line that a process shows. It is empty for an exiting process: the kernel removes
/// its program and its title first, and the process stays attached to the shared memory until its
/// own memory is freed.
pub(super) struct Title(Vec<u8>);

impl Title {
    pub(super) fn read(pid: Pid) -> Self {
        Self(fs::read(proc_path(pid, "cmdline")).unwrap_or_default())
    }

    /// A postmaster keeps its command line; its children replace theirs (`init_ps_display`). A
    /// process without a command line is already exiting; it is treated as an orphaned child.
    fn is_of_child(&self) -> bool {
        self.0.is_empty() || self.0.starts_with(b"postgres: ")
    }

    /// Modes other than the postmaster's have to be named by the first argument
    /// (`src/backend/main/main.c`), after the program of an emulator.
    fn has_argument(&self, modes: &[&[u8]]) -> bool {
        self.arguments().any(|argument| modes.contains(&argument))
    }

    pub(super) fn arguments(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == 0).skip(1)
    }

    fn is_single_user(&self) -> bool {
        self.has_argument(&[b"--single", b"--boot", b"--check"])
    }

    /// These do not take the lock of the directory.
    fn only_prints(&self) -> bool {
        self.has_argument(&[b"--describe-config", b"-C"])
    }

    fn holds_directory(&self) -> bool {
        !self.is_of_child() && !self.only_prints()
    }

    pub(super) fn is_of_postmaster(&self) -> bool {
        self.holds_directory() && !self.is_single_user()
    }
}

/// Returns whether the process is stopped by a signal or a debugger (`T` and `t` in
/// proc_pid_stat(5)), or frozen.
pub(crate) fn is_suspended(pid: Pid) -> bool {
    Stat::read(pid).is_some_and(|stat| matches!(stat.state, b'T' | b't')) || is_frozen(pid)
}

/// Frozen by the freezer of its control group, which `docker pause` uses, of version 2 or 1
/// (cgroups(7)).
fn is_frozen(pid: Pid) -> bool {
    let says = |file: String, line: &str| {
        fs::read_to_string(file).is_ok_and(|text| text.lines().any(|found| found == line))
    };
    let groups = fs::read_to_string(proc_path(pid, "cgroup")).unwrap_or_default();
    groups.lines().any(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else {
            return false;
        };
        // If both versions are mounted, version 2 has a separate directory.
        let mut second = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].into_iter();
        match controllers {
            "" => second.any(|root| says(format!("{root}{group}/cgroup.events"), "frozen 1")),
            "freezer" => says(
                format!("/sys/fs/cgroup/freezer{group}/freezer.state"),
                "FROZEN",
            ),
            _ => false,
        }
    })
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

/// The reason why this process, whose user is called root, cannot switch to another account, by the
/// kernel's record of it (proc_pid_status(5), user_namespaces(7)); none if it can, as far as the
/// record shows.
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

/// Returns whether a user or group exists in this user namespace. Each line has the first ID of a
/// range here, the first outside, and the length.
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

pub(super) fn processes() -> impl Iterator<Item = Pid> {
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
        // The manual counts from 1, the process ID; the state after the name is the third.
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            name: name.to_owned(),
            state: *fields.first()?.as_bytes().first()?,
            parent: i32::try_from(number(4)?).ok()?,
            cpu_ticks: number(14)?.saturating_add(number(15)?),
            start_ticks: number(22)?,
        })
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Seconds since 1970, by the clock as it is set now.
    pub(super) fn began_at(&self) -> Option<i64> {
        let per_second = rustix::param::clock_ticks_per_second();
        let since_boot = i64::try_from(self.start_ticks.checked_div(per_second)?).ok()?;
        let now = rustix::time::clock_gettime(ClockId::Realtime).tv_sec;
        let uptime = rustix::time::clock_gettime(ClockId::Boottime).tv_sec;
        Some(now - uptime + since_boot)
    }
}

/// `/proc/PID/status`, as far as it is needed here.
pub(super) struct Status {
    /// The process to which this thread belongs.
    pub(super) process: Pid,
    pub(super) user: u32,
    group: u32,
    /// The signals that are caught or ignored, one bit for each.
    handled: u64,
}

impl Status {
    pub(super) fn read(pid: Pid) -> Option<Self> {
        Self::parse(&fs::read(proc_path(pid, "status")).ok()?)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        // The name comes first, and its newlines are escaped.
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
        };
        // The real, effective and saved ID, and the ID of the file system.
        let effective = |name| field(name)?.split_ascii_whitespace().nth(1)?.parse().ok();
        let set = |name| u64::from_str_radix(field(name)?, 16).ok();
        Some(Self {
            process: field("Tgid")?.parse().ok()?,
            user: effective("Uid")?,
            group: effective("Gid")?,
            handled: set("SigCgt")? | set("SigIgn")?,
        })
    }
}
