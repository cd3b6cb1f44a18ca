//! One process, held so that no other process can be mistaken for it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;

use camino::Utf8Path;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::segments::Segment;
use crate::pid::Pid;
use crate::shared_memory_id::SharedMemoryId;
use crate::signal::Signal;

/// The means of the platform that are used to identify, signal and wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Means {
    /// The best there are: pidfd, `/proc` and inotify on Linux.
    #[default]
    Native,
    /// Those of every Unix: `kill`, `ps`, the shared memory's record of who created it, and
    /// polling; on macOS and the BSDs also kqueue.
    Portable,
}

/// A process.
#[derive(Debug)]
pub(crate) enum Process {
    /// A descriptor that stands for this process and never for a later one of the same number.
    #[cfg(all(target_os = "linux", not(pg_portable)))]
    Descriptor { pid: Pid, fd: OwnedFd },
    /// A process ID, and the time at which that process began, to detect a reused ID. `end` becomes
    /// readable when the process has exited, if the system can report that.
    Number {
        pid: Pid,
        began: Option<Began>,
        end: Option<OwnedFd>,
    },
}

/// When a process began, in a unit of the platform; only good to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Began(pub(crate) u64);

/// A data directory, by its identity for the kernel, with the only account that may serve it
/// (`checkDataDir` in `src/backend/utils/init/miscinit.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirectoryId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) owner: u32,
}

impl DirectoryId {
    pub(crate) fn of(path: &Utf8Path) -> io::Result<Self> {
        let meta = std::fs::metadata(path)?;
        if !meta.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self {
            device: meta.dev(),
            inode: meta.ino(),
            owner: meta.uid(),
        })
    }
}

/// The known properties of the wanted process.
pub(crate) struct Evidence {
    pub(crate) pid: Pid,
    pub(crate) directory: DirectoryId,
    pub(crate) start_time: Option<i64>,
    pub(crate) shared_memory: Option<SharedMemoryId>,
}

impl Evidence {
    /// The segment that the process made, if it exists and a process is attached to it.
    pub(super) fn segment(&self) -> Option<Segment> {
        Segment::by_id(self.shared_memory?.id)
            .filter(|segment| segment.creator == self.pid.as_raw() && segment.attached > 0)
    }
}

/// The longest time by which a process may appear to have begun after its own record of its start:
/// the record has whole seconds, and the two clocks are read one after the other.
pub(super) const CLOCK_TOLERANCE: i64 = 3;

/// The result of comparing a process with the wanted one.
#[derive(Debug)]
pub(crate) enum Identity {
    Verified(Process),
    /// The process may be the wanted one, but cannot be examined closely enough; with its user, if
    /// known.
    Unknown(Option<u32>),
    /// The process does not exist.
    Gone,
    Zombie,
    /// It runs another program.
    OtherProgram(String),
    /// A PostgreSQL of another data directory.
    OtherDirectory,
    /// It began after the one looked for.
    BeganLater,
}

pub(crate) fn identify(evidence: &Evidence, means: Means) -> Identity {
    if evidence.pid == Pid::current() {
        return Identity::OtherProgram("the calling process".to_owned());
    }
    match means {
        #[cfg(all(target_os = "linux", not(pg_portable)))]
        Means::Native => super::linux::identify(evidence),
        _ => super::portable::identify(evidence),
    }
}

impl Process {
    /// A process that no other thread can reap yet: its ID is not reused.
    pub(super) fn open_child(pid: Pid) -> Self {
        #[cfg(all(target_os = "linux", not(pg_portable)))]
        if let Ok(fd) = super::linux::open_pidfd(pid) {
            return Self::Descriptor { pid, fd };
        }
        Self::Number {
            pid,
            began: super::portable::began(pid),
            end: super::portable::end_of(pid),
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        match self {
            #[cfg(all(target_os = "linux", not(pg_portable)))]
            Self::Descriptor { pid, .. } => *pid,
            Self::Number { pid, .. } => *pid,
        }
    }

    /// Becomes readable when the process has exited.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            #[cfg(all(target_os = "linux", not(pg_portable)))]
            Self::Descriptor { fd, .. } => Some(fd.as_fd()),
            Self::Number { end, .. } => end.as_ref().map(AsFd::as_fd),
        }
    }

    /// A zombie has exited.
    pub(crate) fn has_ended(&self) -> bool {
        match self {
            #[cfg(all(target_os = "linux", not(pg_portable)))]
            Self::Descriptor { fd, .. } => is_readable(fd),
            Self::Number { pid, began, end } => {
                end.as_ref().is_some_and(is_readable) || super::portable::has_ended(*pid, *began)
            }
        }
    }

    /// Returns whether the process does anything other than terminate at this signal; none if that
    /// cannot be determined.
    pub(crate) fn handles(&self, signal: Signal) -> Option<bool> {
        #[cfg(all(target_os = "linux", not(pg_portable)))]
        return super::linux::handles(self.pid(), signal);
        #[cfg(not(all(target_os = "linux", not(pg_portable))))]
        {
            let _ = signal;
            None
        }
    }

    pub(crate) fn send(&self, signal: Signal) -> Result<(), Errno> {
        self.send_any(signal.rustix())
    }

    /// Stops the process by SIGSTOP.
    pub(crate) fn suspend(&self) -> Result<(), Errno> {
        self.send_any(rustix::process::Signal::STOP)
    }

    /// Lets the process go on by SIGCONT.
    pub(crate) fn resume(&self) -> Result<(), Errno> {
        self.send_any(rustix::process::Signal::CONT)
    }

    fn send_any(&self, signal: rustix::process::Signal) -> Result<(), Errno> {
        match self {
            #[cfg(all(target_os = "linux", not(pg_portable)))]
            Self::Descriptor { fd, .. } => {
                // A zombie takes signals without a word.
                if self.has_ended() {
                    return Err(Errno::SRCH);
                }
                match rustix::process::pidfd_send_signal(fd, signal) {
                    // A sandbox may let pass the one call and not the other. The process lived a
                    // moment ago, so the number was its own then.
                    Err(Errno::PERM | Errno::NOSYS | Errno::ACCESS) if !self.has_ended() => {
                        rustix::process::kill_process(self.pid().rustix(), signal)
                    }
                    outcome => outcome,
                }
            }
            Self::Number { pid, .. } => {
                if self.has_ended() {
                    return Err(Errno::SRCH);
                }
                rustix::process::kill_process(pid.rustix(), signal)
            }
        }
    }
}

fn is_readable(fd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let ready = rustix::event::poll(&mut fds, Some(&Timespec::default()));
    ready.is_ok() && fds[0].revents().contains(PollFlags::IN)
}

#[cfg(all(test, target_os = "linux", not(pg_portable)))]
mod tests {
    use nix::libc;

    use super::*;
    use crate::sys::fork::descriptor_limit;

    /// A sandbox for the calling thread that refuses these system calls.
    fn refuse(calls: &[libc::c_long]) {
        let instruction = |code: u32, yes: u8, k: u32| libc::sock_filter {
            code: code as u16,
            jt: yes,
            jf: 0,
            k,
        };
        // The number of the call is the first word of `seccomp_data`.
        let mut filter = vec![instruction(
            libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
            0,
            0,
        )];
        for (n, &call) in calls.iter().enumerate() {
            let to_refusal = (calls.len() - n) as u8;
            let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
            filter.push(instruction(equal, to_refusal, call as u32));
        }
        let result = libc::BPF_RET | libc::BPF_K;
        filter.push(instruction(result, 0, libc::SECCOMP_RET_ALLOW));
        let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
        filter.push(instruction(result, 0, refused));
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_mut_ptr(),
        };
        // SAFETY: the program is valid for the call, which copies it.
        let installed = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program)
        };
        assert_eq!(installed, 0);
    }

    /// Simulates kqueue on other systems, which reports the exit before any other mechanism shows
    /// it.
    #[test]
    fn an_event_may_report_the_end_of_a_process() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let process = Process::Number {
            pid: Pid::current(),
            began: None,
            end: Some(reader),
        };
        assert!(process.descriptor().is_some());
        assert!(!process.has_ended());
        rustix::io::write(&writer, b"x").unwrap();
        assert!(process.has_ended());
        assert_eq!(process.send(Signal::Kill), Err(Errno::SRCH));
    }

    /// Kernels before Linux 5.3 have no such call.
    #[test]
    fn a_process_is_held_by_its_number_where_there_is_no_pidfd() {
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let pid = Pid::new(child.id() as i32).unwrap();
        let process = std::thread::scope(|scope| {
            let hold = || {
                refuse(&[libc::SYS_pidfd_open]);
                let process = Process::open_child(pid);
                assert!(process.descriptor().is_none());
                assert!(!process.has_ended());
                process.send(Signal::Kill).unwrap();
                process
            };
            scope.spawn(hold).join().unwrap()
        });
        child.wait().unwrap();
        assert!(process.has_ended());
        assert_eq!(process.send(Signal::Kill), Err(Errno::SRCH));
    }

    #[test]
    fn a_sandbox_may_refuse_the_signal_by_descriptor() {
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let process = Process::open_child(Pid::new(child.id() as i32).unwrap());
        assert!(process.descriptor().is_some());
        std::thread::scope(|scope| {
            let send = || {
                refuse(&[libc::SYS_pidfd_send_signal, libc::SYS_prlimit64]);
                assert!(descriptor_limit() > 0);
                process.send(Signal::Kill)
            };
            scope.spawn(send).join().unwrap().unwrap();
        });
        child.wait().unwrap();
        assert_eq!(process.send(Signal::Kill), Err(Errno::SRCH));
    }
}
