//! The messages between the owner and the warden: orders, commands and reports.

use nix::libc::{c_int, pid_t};

/// Descriptors that come with one order, at most.
pub(super) const MAX_DESCRIPTORS: usize = 24;

/// The descriptor on which the warden replies.
pub(super) const ANSWER: usize = 2;

/// An order to start a program, with its descriptors in this sequence: the order itself, lifeline,
/// reports, failure, standard input, output and error (unless they are paths), what to hold, users.
pub(super) const ORDER_PROGRAM: u8 = b'P';

/// An order to guard directories, with its descriptors in this sequence: the order itself, the
/// lifeline, what is closed when all is done, and the parents of the directories.
pub(super) const ORDER_ERRAND: u8 = b'G';

/// The largest number of directories of one errand.
pub(super) const MAX_PARENTS: usize = MAX_DESCRIPTORS - 3;

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Step {
    pub(crate) signal: i64,
    pub(crate) patience_ms: i64,
}

/// The operation that failed between fork and exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Prepare,
    Fork,
    Report,
    Groups,
    Group,
    User,
    Output,
    Streams,
    Directory,
    Execute,
}

impl Stage {
    /// Those that the program itself can report.
    pub(super) const OF_PROGRAM: [Self; 7] = [
        Self::Groups,
        Self::Group,
        Self::User,
        Self::Output,
        Self::Streams,
        Self::Directory,
        Self::Execute,
    ];
}

/// Sent by the warden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The order is being executed: the process ID of the program, or zero if there is none.
    Started(pid_t),
    NotStarted(c_int),
    /// The program exited, with this status of `waitpid`.
    Exited(c_int),
    /// All its processes have exited.
    AllGone,
}

impl Report {
    pub(crate) const SIZE: usize = 8;

    pub(super) fn to_bytes(self) -> [u8; Self::SIZE] {
        let (kind, value) = match self {
            Self::Started(pid) => (1u32, pid),
            Self::NotStarted(errno) => (2, errno),
            Self::Exited(status) => (3, status),
            Self::AllGone => (4, 0),
        };
        let [a, b, c, d] = kind.to_ne_bytes();
        let [e, f, g, h] = value.to_ne_bytes();
        [a, b, c, d, e, f, g, h]
    }

    pub(crate) fn from_bytes([a, b, c, d, e, f, g, h]: [u8; Self::SIZE]) -> Option<Self> {
        let value = c_int::from_ne_bytes([e, f, g, h]);
        match u32::from_ne_bytes([a, b, c, d]) {
            1 => Some(Self::Started(value)),
            2 => Some(Self::NotStarted(value)),
            3 => Some(Self::Exited(value)),
            4 => Some(Self::AllGone),
            _ => None,
        }
    }
}

/// The messages that the owner writes into the lifeline.
pub(crate) mod command {
    /// The owner holds a handle of the program: its number may be given back.
    pub(crate) const SEEN: u8 = b'A';
    /// Let the program live when the lifeline ends.
    pub(crate) const DETACH: u8 = b'D';
    /// End the program when the lifeline ends.
    pub(crate) const BIND: u8 = b'B';
    /// Send the signal whose number is the next byte.
    pub(crate) const SIGNAL: u8 = b'S';
}

/// The data on a program for the warden, in the form that it reads.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct ProgramOrder {
    pub(super) path: usize,
    pub(super) directory: usize,
    pub(super) arguments: usize,
    pub(super) environment: usize,
    /// A path to append to; zero if a descriptor was sent along.
    pub(super) stdout: usize,
    pub(super) stderr: usize,
    /// Whether the account is another one, and its IDs.
    pub(super) changes_account: usize,
    pub(super) uid: usize,
    pub(super) gid: usize,
    pub(super) groups: usize,
    pub(super) group_count: usize,
    pub(super) steps: usize,
    pub(super) step_count: usize,
    pub(super) bound: usize,
    pub(super) whole_group: usize,
    pub(super) if_warden_dies: usize,
    /// True if a descriptor to hold was sent along.
    pub(super) holds: usize,
    /// The directory that users lock; zero if there are none, else their FIFO was sent along.
    pub(super) lock: usize,
    pub(super) linger_ms: usize,
}

/// The data on an errand for the warden, in the form that it reads.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct ErrandOrder {
    pub(super) data_directories: usize,
    pub(super) data_directory_count: usize,
    pub(super) removals: usize,
    pub(super) removal_count: usize,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct MemoryOrder {
    /// The index of the parent.
    pub(super) parent: usize,
    pub(super) names: usize,
    pub(super) name_count: usize,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct RemovalOrder {
    /// Which of the parents.
    pub(super) parent: usize,
    pub(super) name: usize,
    /// Zero if there is none.
    pub(super) marker: usize,
    pub(super) content_only: usize,
    pub(super) device: u64,
    pub(super) inode: u64,
}
