//! System V shared memory segments as witnesses of who serves a data directory.
//!
//! Each server makes one, and each of its processes stays attached to it. The kernel records the
//! creator and counts the attached processes; the segment's header names the data directory
//! (`PGSharedMemoryCreate` in `src/backend/port/sysv_shmem.c`). No right over the process is needed
//! to read the record, and on Linux none over the segment either.

use std::ptr;

use nix::errno::Errno;
use nix::libc::{self, c_int};

use super::process::DirectoryId;
use super::shared_memory::{HEADER, read_header};
use crate::shared_memory_id::SharedMemoryId;

/// The kernel's record of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) id: c_int,
    pub(crate) creator: libc::pid_t,
    pub(crate) attached: u64,
    /// Seconds since 1970 when it was made.
    pub(crate) created: i64,
    uid: u32,
    key: Option<i32>,
    size: usize,
}

/// The result of comparing a segment with a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MadeFor {
    This,
    Another,
    Unknown,
}

impl Segment {
    /// The segment with this ID, if there is one that may be read.
    pub(crate) fn by_id(id: c_int) -> Option<Self> {
        stat(id, libc::IPC_STAT)
            .or_else(|| stat_of_others(id))
            .filter(|segment| segment.id == id)
    }

    /// Returns whether its header names this directory. If the header may not be read, the key
    /// decides, which is the inode from PostgreSQL 13 on.
    pub(crate) fn made_for(&self, directory: DirectoryId) -> MadeFor {
        if self.uid != directory.owner {
            return MadeFor::Another;
        }
        match self.header() {
            Ok(header) => match read_header(&header, directory.device, directory.inode) {
                Some(_) => MadeFor::This,
                None => MadeFor::Another,
            },
            Err(_) if self.key == Some(directory.inode as i32) => MadeFor::This,
            Err(_) => MadeFor::Unknown,
        }
    }

    /// In the form of a lock file.
    pub(crate) fn name(&self) -> SharedMemoryId {
        SharedMemoryId {
            key: self.key.unwrap_or_default(),
            id: self.id,
        }
    }

    fn header(&self) -> Result<[u8; HEADER], c_int> {
        let read = || header_of(self.id, self.size);
        #[cfg(all(target_os = "linux", not(pg_portable)))]
        if let Err(libc::EACCES) = read() {
            let owner = super::borrowed::Borrowed::account(self.uid, None);
            return owner.map_or(Err(libc::EACCES), |_owner| read());
        }
        read()
    }
}

/// The value is the same on every system. The libc crate lacks it for NetBSD and OpenBSD.
const SHM_RDONLY: c_int = 0o10000;

/// The first bytes of a segment. Async-signal-safe.
pub(super) fn header_of(id: c_int, size: usize) -> Result<[u8; HEADER], c_int> {
    let mut header = [0; HEADER];
    // SAFETY: the segment is attached wherever the system wants, and has the bytes that are copied
    // from it.
    unsafe {
        let address = libc::shmat(id, ptr::null(), SHM_RDONLY);
        if address as isize == -1 {
            return Err(Errno::last_raw());
        }
        ptr::copy_nonoverlapping(address.cast::<u8>(), header.as_mut_ptr(), size.min(HEADER));
        libc::shmdt(address);
    }
    Ok(header)
}

fn stat(id_or_index: c_int, command: c_int) -> Option<Segment> {
    // SAFETY: all zeros is a value of this plain C struct, and the call fills it in.
    let (info, result) = unsafe {
        let mut info: libc::shmid_ds = std::mem::zeroed();
        let result = libc::shmctl(id_or_index, command, &mut info);
        (info, result)
    };
    (result >= 0).then(|| Segment {
        // The commands that take an index return the ID.
        id: if command == libc::IPC_STAT {
            id_or_index
        } else {
            result
        },
        creator: info.shm_cpid,
        attached: info.shm_nattch as u64,
        created: info.shm_ctime as i64,
        uid: info.shm_perm.uid,
        key: super::shared_memory::key_of(&info),
        size: info.shm_segsz as usize,
    })
}

/// `SHM_STAT_ANY` of Linux 4.17 does not require any right to the segment. It takes the index in
/// the kernel's table: the low 15 bits of the ID, or more if the kernel was booted with
/// `ipcmni_extend`.
#[cfg(all(target_os = "linux", not(pg_portable)))]
fn stat_of_others(id: c_int) -> Option<Segment> {
    [0x7fff, 0xff_ffff]
        .into_iter()
        .filter_map(|mask| stat(id & mask, SHM_STAT_ANY))
        .find(|segment| segment.id == id)
}

#[cfg(not(all(target_os = "linux", not(pg_portable))))]
fn stat_of_others(_id: c_int) -> Option<Segment> {
    None
}

/// `include/uapi/linux/shm.h`
#[cfg(all(target_os = "linux", not(pg_portable)))]
const SHM_STAT: c_int = 13;
#[cfg(all(target_os = "linux", not(pg_portable)))]
const SHM_INFO: c_int = 14;
#[cfg(all(target_os = "linux", not(pg_portable)))]
const SHM_STAT_ANY: c_int = 15;

/// Keys that a server tries from PostgreSQL 13 on: the inode of the data directory, and the numbers
/// after it while they are taken.
#[cfg(all(target_os = "linux", not(pg_portable)))]
const KEYS_TRIED: u32 = 1024;

/// Segments to which a process is attached, and which may have been made for this directory.
/// Servers before PostgreSQL 13 take the port for the key, so there each segment of the account may
/// be one.
#[cfg(all(target_os = "linux", not(pg_portable)))]
pub(crate) fn segments_for(directory: DirectoryId, keyed_by_inode: bool) -> Vec<Segment> {
    // SAFETY: zeros are a value of the plain C struct, which is larger than `shm_info`.
    let last = unsafe {
        let mut info: libc::shmid_ds = std::mem::zeroed();
        libc::shmctl(0, SHM_INFO, &mut info)
    };
    // An emulator or a sandbox may know no tables.
    if last < 0 {
        return segments_by_key(directory);
    }
    (0..=last)
        .filter_map(|index| stat(index, SHM_STAT_ANY).or_else(|| stat(index, SHM_STAT)))
        .filter(|segment| segment.attached > 0 && segment.uid == directory.owner)
        .filter(|segment| {
            let distance = |key: i32| key.wrapping_sub(directory.inode as i32) as u32;
            // A segment that was removed under its server (`RemoveIPC` of systemd) lost its key.
            let fits = |key| key == libc::IPC_PRIVATE || distance(key) < KEYS_TRIED;
            !keyed_by_inode || segment.key.is_none_or(fits)
        })
        .collect()
}

#[cfg(not(all(target_os = "linux", not(pg_portable))))]
pub(crate) fn segments_for(directory: DirectoryId, _keyed_by_inode: bool) -> Vec<Segment> {
    segments_by_key(directory)
}

/// Like [`segments_for`], for systems that do not list segments. Finds only segments of PostgreSQL
/// 13 and later, unless other segments had many of the keys.
pub(crate) fn segments_by_key(directory: DirectoryId) -> Vec<Segment> {
    // NetBSD has keys of 64 bits.
    let first = directory.inode as libc::key_t;
    (0..8)
        .map(|n| first.wrapping_add(n))
        .filter(|&key| key != libc::IPC_PRIVATE)
        .filter_map(|key| {
            // SAFETY: numbers only; nothing is made.
            let id = unsafe { libc::shmget(key, 0, 0) };
            (id >= 0).then(|| Segment::by_id(id)).flatten()
        })
        .filter(|segment| segment.attached > 0 && segment.uid == directory.owner)
        .collect()
}
