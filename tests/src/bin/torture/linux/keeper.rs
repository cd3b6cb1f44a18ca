//! Each case in a process of its own, and around it another one that keeps it: in namespaces where
//! nobody else mounts anything or has shared memory, so that what is left there was left by the
//! case; with a limit of time; and with an end to everything at the end.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use camino::Utf8PathBuf;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change};
use rustix::process::{Pid, PidfdFlags, Signal};
use rustix::thread::UnshareFlags;

/// What has not ended by then hangs.
const LIMIT: Duration = Duration::from_secs(180);
/// The name of a small file system in the directory for temporary files, where namespaces can be
/// had.
pub(crate) const DISK: &str = "disk";
const DISK_SIZE: &str = "size=96m,mode=0755";
const MEMORY: &str = "/dev/shm";
/// The directory with what was made for all cases.
pub(crate) const TEMPLATES: &str = "TORTURE_TEMPLATES";
/// Tells a case that it is in namespaces of its own.
const ISOLATED: &str = "TORTURE_ISOLATED";

/// Runs one case, as the process that keeps it.
pub(crate) fn keep(scenario: &str, seed: &str) -> ExitCode {
    let isolation = isolate();
    let isolated = isolation.is_ok();
    if let Err(error) = isolation {
        println!("no namespaces: {error}");
    }
    let mut case = Command::new("/proc/self/exe");
    case.args(["case", scenario, seed]).stdin(Stdio::null());
    if isolated {
        case.env(ISOLATED, "1");
    }
    // In namespaces they are known for certain; otherwise by what this process passes on as well.
    let isolation = Isolation::new(isolated);
    let outcome = case
        .spawn()
        .and_then(|mut case| watch(&mut case, &isolation));
    end(&isolation);
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("the case cannot be run: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether a case can have namespaces of its own, by trying; if not, what the system says.
pub(crate) fn probe() -> ExitCode {
    match isolate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn watch(case: &mut Child, isolation: &Isolation) -> io::Result<bool> {
    let pid = case.id();
    if !Handle::open(pid).is_none_or(|case| case.wait_for_end(LIMIT)) {
        let there = describe(&isolation.others());
        println!("hangs: not done after {LIMIT:?}; there are {there}");
        case.kill()?;
    }
    Ok(case.wait()?.success())
}

/// Kills all that is left. Processes are told by their namespace, which no stranger enters.
fn end(isolation: &Isolation) {
    // A case may have been killed while it hid `/proc`.
    while isolation.has_namespaces() && !Path::new("/proc/self").exists() {
        if rustix::mount::unmount("/proc", rustix::mount::UnmountFlags::DETACH).is_err() {
            break;
        }
    }
    for _ in 0..1000 {
        let left = isolation.others();
        let handles: Vec<_> = left
            .iter()
            .filter_map(|&pid| Some((pid, Handle::open(pid)?)))
            .collect();
        // What has another number's place now is not among them any more.
        let still = isolation.others();
        for (_, handle) in handles.iter().filter(|(pid, _)| still.contains(pid)) {
            handle.kill();
            handle.wait_for_end(Duration::from_secs(1));
        }
        if still.is_empty() {
            return;
        }
    }
}

/// Enters new namespaces, as an ordinary user in one for users first, and mounts there: memory for
/// POSIX segments, and a disk that can be filled up. Both go with the last process in there.
fn isolate() -> io::Result<()> {
    let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWIPC;
    if !user.is_root() {
        flags |= UnshareFlags::NEWUSER;
    }
    #[expect(
        deprecated,
        reason = "it is unsafe for CLONE_FILES, which is not among the flags"
    )]
    rustix::thread::unshare(flags)?;
    if !user.is_root() {
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write(
            "/proc/self/uid_map",
            format!("{user} {user} 1", user = user.as_raw()),
        )?;
        fs::write(
            "/proc/self/gid_map",
            format!("{group} {group} 1", group = group.as_raw()),
        )?;
    }
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    // What we need from the memory that is about to be hidden.
    let temporary = std::env::temp_dir();
    let program = std::env::current_exe()?;
    let needed = [
        program.parent().map(Path::to_owned),
        std::env::var_os(TEMPLATES).map(PathBuf::from),
        Some(temporary.clone()),
    ];
    let mut kept = Vec::new();
    for path in needed
        .into_iter()
        .flatten()
        .filter(|path| path.starts_with(MEMORY))
    {
        let place = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        kept.push((path, place));
    }
    mount("tmpfs", MEMORY, "tmpfs", MountFlags::empty(), c"mode=1777")?;
    for (path, place) in kept {
        // It may be in one of those before it.
        if !path.exists() {
            make_open(&path)?;
            let place = format!("/proc/self/fd/{}", place.as_raw_fd());
            mount_bind_recursive(place, &path)?;
        }
    }
    let disk = temporary.join(DISK);
    fs::create_dir_all(&disk)?;
    let size = std::ffi::CString::new(DISK_SIZE).unwrap_or_default();
    mount("tmpfs", disk, "tmpfs", MountFlags::empty(), size.as_c_str())?;
    Ok(())
}

/// Makes a directory and those above it that are missing, for everybody to enter.
fn make_open(path: &Path) -> io::Result<()> {
    if let Some(above) = path.parent().filter(|above| !above.exists()) {
        make_open(above)?;
    }
    fs::create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// What tells the processes and the memory of a case from those of others.
#[derive(Clone, Debug)]
pub(crate) enum Isolation {
    /// They are all there are in its namespaces; this is the one for mounts.
    Namespaces(PathBuf),
    /// The system has no namespaces for us: they are told by the directory for temporary files in
    /// their environment. Memory cannot be told.
    None,
}

impl Isolation {
    fn new(isolated: bool) -> Self {
        let own = fs::read_link("/proc/self/ns/mnt");
        own.ok()
            .filter(|_| isolated)
            .map_or(Self::None, Self::Namespaces)
    }

    fn has_namespaces(&self) -> bool {
        matches!(self, Self::Namespaces(_))
    }

    /// Of this process, as its keeper said.
    pub(crate) fn of_case() -> Self {
        Self::new(std::env::var_os(ISOLATED).is_some())
    }

    /// A small file system that a case may fill up.
    pub(crate) fn disk(&self) -> Option<Utf8PathBuf> {
        let disk = Utf8PathBuf::from_path_buf(std::env::temp_dir().join(DISK)).ok();
        disk.filter(|_| matches!(self, Self::Namespaces(_)))
    }

    /// The processes of the case but this one and the one that started it. Zombies are none.
    pub(crate) fn others(&self) -> Vec<u32> {
        let own = [std::process::id(), std::os::unix::process::parent_id()];
        let temporary = std::env::temp_dir();
        let temporary = temporary.as_os_str().as_bytes();
        let is_ours = |pid: &u32| match self {
            Self::Namespaces(ours) => {
                fs::read_link(format!("/proc/{pid}/ns/mnt")).is_ok_and(|its| its == *ours)
            }
            Self::None => fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                environment
                    .split(|&byte| byte == 0)
                    .any(|variable| variable.strip_prefix(b"TMPDIR=") == Some(temporary))
            }),
        };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| !own.contains(pid) && is_ours(pid))
            .collect()
    }

    /// Segments of System V and POSIX shared memory, as far as they can only be the case's.
    pub(crate) fn shared_memory(&self) -> Vec<String> {
        if matches!(self, Self::None) {
            return Vec::new();
        }
        let table = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
        let system_v = table.lines().skip(1).map(|line| {
            let words: Vec<_> = line.split_ascii_whitespace().take(5).collect();
            format!("key, id, mode, size, creator {}", words.join(" "))
        });
        let posix = fs::read_dir(MEMORY).into_iter().flatten().flatten();
        // A server that is killed between making a segment and noting it in its list has lost it
        // (`dsm_create` in dsm.c). It is all zeros then, and neither a start of PostgreSQL nor a
        // release of ours can know of it.
        let posix = posix.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let content = fs::read(entry.path()).ok()?;
            let is_in_use = content.iter().any(|&byte| byte != 0);
            (name.starts_with("PostgreSQL.") && is_in_use)
                .then(|| format!("{name} of {} bytes", content.len()))
        });
        system_v.chain(posix).collect()
    }
}

/// A process, whatever becomes of its number.
pub(crate) struct Handle(OwnedFd);

impl Handle {
    /// None if it has gone.
    pub(crate) fn open(pid: u32) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty());
        handle.ok().map(Self)
    }

    pub(crate) fn kill(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.0, Signal::KILL);
    }

    /// Whether it ends within this time.
    pub(crate) fn wait_for_end(&self, patience: Duration) -> bool {
        let mut ready = [PollFd::new(&self.0, PollFlags::IN)];
        let patience = Timespec::try_from(patience).ok();
        matches!(poll(&mut ready, patience.as_ref()), Ok(1..))
    }
}

/// Numbers and command lines.
pub(crate) fn describe(pids: &[u32]) -> String {
    let one = |pid: &u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        format!("{pid} `{}`", words.trim_end())
    };
    pids.iter().map(one).collect::<Vec<_>>().join(", ")
}
