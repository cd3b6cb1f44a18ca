//! Giving back the shared memory of a server that cannot do it any more.
//!
//! Everything here is async-signal-safe: the guard does it too, after a fork.
//!
//! The main memory of a server is anonymous and is released with its last process. After SIGKILL
//! two things remain: the small System V segment by which servers detect each other, and POSIX
//! segments of parallel queries. The System V segment, which `postmaster.pid` names, begins with a
//! `PGShmemHeader` (`src/include/storage/pg_shmem.h`). Its header has the device and inode of the
//! data directory, and the handle of the control segment, which lists the POSIX segments
//! (`dsm_control_header` in `src/backend/storage/ipc/dsm.c`). A new server releases them in
//! `dsm_cleanup_using_control_segment` there.

use std::ptr;

use nix::errno::Errno;
use nix::libc::{self, c_int, pid_t};

use super::fork;
use crate::shared_memory_id::SharedMemoryId;

/// The memory that was released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Freed {
    pub(crate) system_v: bool,
    pub(crate) posix: u32,
}

/// The reason why no memory was released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// This number of processes is attached.
    InUse(u64),
    /// The segment was not made for this data directory.
    NotOurs,
    Errno(c_int),
}

/// The directory whose server has exited.
pub(crate) struct DirectoryOf<'a> {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// The owner of the directory, and so of the memory.
    pub(crate) uid: u32,
    /// Content of its `postmaster.pid`.
    pub(crate) lock_file: &'a [u8],
}

pub(crate) fn release(directory: &DirectoryOf<'_>) -> Result<Freed, Refusal> {
    let outcome = release_as_caller(directory);
    #[cfg(all(target_os = "linux", not(pg_portable)))]
    if let Err(Refusal::Errno(libc::EACCES | libc::EPERM)) = outcome {
        if let Some(_owner) = super::borrowed::Borrowed::account(directory.uid, None) {
            return release_as_caller(directory);
        }
    }
    outcome
}

fn release_as_caller(directory: &DirectoryOf<'_>) -> Result<Freed, Refusal> {
    let mut freed = Freed::default();
    let Some((creator, id)) = segment_named_by(directory.lock_file) else {
        return Ok(freed);
    };
    // SAFETY: all zeros is a value of this plain C struct, and the call fills it in.
    let info = unsafe {
        let mut info: libc::shmid_ds = std::mem::zeroed();
        if libc::shmctl(id.id, libc::IPC_STAT, &mut info) != 0 {
            return match Errno::last_raw() {
                // Gone already, or the number was given out again with other rights.
                libc::EINVAL | libc::EIDRM | libc::ENOENT => Ok(freed),
                errno => Err(Refusal::Errno(errno)),
            };
        }
        info
    };
    let other_key = key_of(&info).is_some_and(|key| key != id.key);
    if info.shm_cpid != creator || info.shm_perm.uid != directory.uid || other_key {
        return Err(Refusal::NotOurs);
    }
    if info.shm_nattch as u64 != 0 {
        return Err(Refusal::InUse(info.shm_nattch as u64));
    }
    let control = control_segment(id, info.shm_segsz as usize, directory)?;
    if let Some(handle) = control {
        freed.posix = release_posix(handle, directory.uid);
    }
    // SAFETY: removing takes no structure.
    if unsafe { libc::shmctl(id.id, libc::IPC_RMID, ptr::null_mut()) } != 0 {
        return Err(Refusal::Errno(Errno::last_raw()));
    }
    freed.system_v = true;
    Ok(freed)
}

/// Lines 1 and 7. (Servers before 9.1 have the segment in line 3; they are too old to be met.)
fn segment_named_by(lock_file: &[u8]) -> Option<(pid_t, SharedMemoryId)> {
    let mut lines = lock_file.split(|&byte| byte == b'\n');
    let creator = std::str::from_utf8(lines.next()?)
        .ok()?
        .parse::<pid_t>()
        .ok()?;
    let line = std::str::from_utf8(lines.nth(5)?).ok()?;
    // Without a newline the line may be incomplete.
    lines.next()?;
    Some((creator.checked_abs()?, SharedMemoryId::from_line(line)?))
}

/// The key of a segment, for which each C library has another name; none where libc has none. The
/// header of the segment has to match anyway.
pub(super) fn key_of(info: &libc::shmid_ds) -> Option<i32> {
    let _permissions = &info.shm_perm;
    #[cfg(all(target_os = "linux", not(target_env = "musl"), not(pg_portable)))]
    return Some(_permissions.__key);
    #[cfg(all(target_os = "linux", target_env = "musl", not(pg_portable)))]
    // libc is going to rename it as well.
    #[allow(deprecated)]
    return Some(_permissions.__ipc_perm_key);
    #[cfg(target_vendor = "apple")]
    return Some(_permissions._key);
    #[cfg(target_os = "freebsd")]
    return i32::try_from(_permissions.key).ok();
    #[cfg(not(any(
        all(target_os = "linux", not(pg_portable)),
        target_vendor = "apple",
        target_os = "freebsd"
    )))]
    None
}

/// Handle of the control segment, if the header has one; refuses a segment that was made for
/// another directory.
fn control_segment(
    id: SharedMemoryId,
    size: usize,
    directory: &DirectoryOf<'_>,
) -> Result<Option<u32>, Refusal> {
    let header = super::segments::header_of(id.id, size).map_err(Refusal::Errno)?;
    read_header(&header, directory.device, directory.inode).ok_or(Refusal::NotOurs)
}

/// The length of the longest known header; the segment of most servers contains only the header.
pub(super) const HEADER: usize = 64;

/// The offsets at which a 64-bit server keeps handle, device and inode: from 9.4 on, before 9.4,
/// and in development versions after 18. Device and inode have to match, so a wrong guess is
/// detected.
const LAYOUTS: [(Option<usize>, usize, usize); 3] =
    [(Some(24), 40, 48), (None, 32, 40), (Some(32), 48, 56)];

/// The handle of the control segment, if the header has one; none of another directory's header.
pub(super) fn read_header(header: &[u8; HEADER], device: u64, inode: u64) -> Option<Option<u32>> {
    const MAGIC: u32 = 679_834_894;
    if u32_at(header, 0) != Some(MAGIC) {
        return None;
    }
    let (control, _, _) = LAYOUTS.into_iter().find(|&(_, device_at, inode_at)| {
        u64_at(header, device_at) == Some(device) && u64_at(header, inode_at) == Some(inode)
    })?;
    Some(
        control
            .and_then(|at| u32_at(header, at))
            .filter(|&handle| handle != 0),
    )
}

/// Removes the segments that the control segment lists, and itself; how many that were.
fn release_posix(control: u32, uid: u32) -> u32 {
    let mut removed = 0;
    let name = Name::of(control);
    let Some(segment) = Segment::open(&name, uid) else {
        return 0;
    };
    segment.each_item(|handle| removed += u32::from(remove(handle, uid)));
    drop(segment);
    removed + u32::from(remove(control, uid))
}

fn remove(handle: u32, uid: u32) -> bool {
    let name = Name::of(handle);
    // SAFETY: the name ends with a zero byte.
    Segment::open(&name, uid).is_some() && unsafe { libc::shm_unlink(name.as_ptr()) } == 0
}

/// `/PostgreSQL.HANDLE`
struct Name([u8; 32]);

impl Name {
    fn of(handle: u32) -> Self {
        const PREFIX: &[u8] = b"/PostgreSQL.";
        let mut name = [0; 32];
        let mut digits = [0; 10];
        let mut rest = handle;
        let mut count = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            count += 1;
            if rest == 0 {
                break;
            }
        }
        let digits = digits.iter().skip(10 - count);
        for (to, &from) in name.iter_mut().zip(PREFIX.iter().chain(digits)) {
            *to = from;
        }
        Self(name)
    }

    fn as_ptr(&self) -> *const libc::c_char {
        self.0.as_ptr().cast()
    }
}

/// A POSIX segment, open for reading.
struct Segment {
    fd: c_int,
    size: u64,
}

impl Segment {
    /// None if the segment belongs to another user.
    fn open(name: &Name, uid: u32) -> Option<Self> {
        // SAFETY: the name ends with a zero byte; all zeros is a value of the plain C struct that
        // the call fills in.
        unsafe {
            let fd = libc::shm_open(name.as_ptr(), libc::O_RDONLY, 0);
            if fd < 0 {
                return None;
            }
            let mut info: libc::stat = std::mem::zeroed();
            let known = libc::fstat(fd, &mut info) == 0;
            let segment = Self {
                fd,
                size: u64::try_from(info.st_size).unwrap_or(0),
            };
            (known && info.st_uid == uid).then_some(segment)
        }
    }

    /// Handles of the segments in use. The items have 24 bytes, and 40 from PostgreSQL 14 on, where
    /// odd handles mean places in the main memory. The size of the segment shows which.
    fn each_item(&self, mut each: impl FnMut(u32)) {
        const MAGIC: u32 = 0x9a50_3d32;
        const FIRST: u64 = 16;
        // 64, and 5 for each of the backends that there can be (`dsm_postmaster_startup`,
        // `MAX_BACKENDS`). The file may claim any number.
        const MOST: u32 = 64 + 5 * 0x3_ffff;
        let mut header = [0; 16];
        fork::read(self.fd, &mut header);
        let (Some(MAGIC), Some(used), Some(all)) =
            (u32_at(&header, 0), u32_at(&header, 4), u32_at(&header, 8))
        else {
            return;
        };
        let items = self.size.saturating_sub(FIRST);
        let length = items.checked_div(u64::from(all)).unwrap_or(0);
        let even_only = match length {
            24 => false,
            40 => true,
            _ => return,
        };
        let mut item = [0; 40];
        let item = item.get_mut(..length as usize).unwrap_or_default();
        for _ in 0..used.min(all).min(MOST) {
            if fork::read(self.fd, item) < length as isize {
                return;
            }
            let (Some(handle), Some(references)) = (u32_at(item, 0), u32_at(item, 4)) else {
                return;
            };
            if references > 0 && !(even_only && handle & 1 == 1) {
                each(handle);
            }
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: opened by `open`, and closed nowhere else.
        unsafe { libc::close(self.fd) };
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
