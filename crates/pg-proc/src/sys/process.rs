//! One process, held so that nobody else can be mistaken for it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::pid::Pid;
use crate::shared_memory_id::SharedMemoryId;
use crate::signal::Signal;

/// Which means of the platform are used to identify, signal and wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Means {
    /// The best there are: pidfd, `/proc` and inotify on Linux.
    #[default]
    Native,
    /// Those of every Unix: `kill`, `ps`, the shared memory's record of who created it, and
    /// polling.
    Portable,
}

/// A process.
#[derive(Debug)]
pub(crate) enum Process {
    /// A descriptor that stands for this process and never for a later one of the same number.
    #[cfg(target_os = "linux")]
    Descriptor { pid: Pid, fd: OwnedFd },
    /// A number, and when the process with that number began, to notice another one.
    Number { pid: Pid, began: Option<Began> },
}

/// When a process began, in a unit of the platform; only good to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Began(pub(crate) u64);

/// What is known of the process that is looked for.
pub(crate) struct Evidence {
    pub(crate) pid: Pid,
    /// Device and inode of its data directory.
    pub(crate) directory: (u64, u64),
    pub(crate) start_time: Option<i64>,
    pub(crate) shared_memory: Option<SharedMemoryId>,
}

/// Whether a process is the one that is looked for.
#[derive(Debug)]
pub(crate) enum Identity {
    Verified(Process),
    /// It may be, but it belongs to another user, who is told if known.
    OtherUsers(Option<u32>),
    /// There is no such process.
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
    match means {
        #[cfg(target_os = "linux")]
        Means::Native => super::linux::identify(evidence),
        _ => super::portable::identify(evidence),
    }
}

impl Process {
    /// A process that cannot be waited for by anybody yet: its number is its own.
    pub(super) fn open_child(pid: Pid) -> Self {
        #[cfg(target_os = "linux")]
        if let Ok(fd) = super::linux::open_pidfd(pid) {
            return Self::Descriptor { pid, fd };
        }
        Self::Number {
            pid,
            began: super::portable::began(pid),
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        match self {
            #[cfg(target_os = "linux")]
            Self::Descriptor { pid, .. } => *pid,
            Self::Number { pid, .. } => *pid,
        }
    }

    /// Becomes readable when the process has ended.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Descriptor { fd, .. } => Some(fd.as_fd()),
            Self::Number { .. } => None,
        }
    }

    /// A zombie has ended.
    pub(crate) fn has_ended(&self) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Self::Descriptor { fd, .. } => {
                let mut fds = [PollFd::new(fd, PollFlags::IN)];
                matches!(
                    rustix::event::poll(&mut fds, Some(&Timespec::default())),
                    Ok(1..)
                )
            }
            Self::Number { pid, began } => super::portable::has_ended(*pid, *began),
        }
    }

    pub(crate) fn send(&self, signal: Signal) -> Result<(), Errno> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Descriptor { fd, .. } => {
                // A zombie takes signals without a word.
                if self.has_ended() {
                    return Err(Errno::SRCH);
                }
                rustix::process::pidfd_send_signal(fd, signal.rustix())
            }
            Self::Number { pid, .. } => {
                if self.has_ended() {
                    return Err(Errno::SRCH);
                }
                rustix::process::kill_process(pid.rustix(), signal.rustix())
            }
        }
    }
}
