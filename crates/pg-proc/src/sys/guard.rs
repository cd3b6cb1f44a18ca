//! The process that removes directories when their owner ends.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc::{self, c_int, pid_t};

use super::fork;
use super::shared_memory::{DirectoryOf, Refusal, release};

/// What to do at the owner's end, in this order.
#[derive(Default)]
pub(crate) struct Errand {
    /// Data directories whose server's shared memory is to be given back: a directory that is held
    /// open, and the names that lead from there, which need not exist yet.
    pub(crate) data_directories: Vec<(OwnedFd, Vec<CString>)>,
    pub(crate) removals: Vec<Removal>,
}

/// A name in a directory that is held open: its path may lead elsewhere by the time it is used.
pub(crate) struct Place {
    pub(crate) parent: OwnedFd,
    pub(crate) name: CString,
}

/// A directory to be removed, known by more than its path.
pub(crate) struct Removal {
    pub(crate) place: Place,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// A file that has to be in it.
    pub(crate) marker: Option<CString>,
    /// The directory itself stays.
    pub(crate) content_only: bool,
}

/// Forks the guard. It does its errand when every copy of the lifeline is closed, and closes `done`
/// when it is through. Anything written into the lifeline makes it end without removing.
pub(crate) fn launch_guard(errand: &Errand) -> io::Result<(OwnedFd, OwnedFd, pid_t)> {
    let (lifeline_read, lifeline) = fork::pipe()?;
    let (done, done_write) = fork::pipe()?;
    let limit = fork::descriptor_limit();
    let (read, write) = (lifeline_read.as_raw_fd(), done_write.as_raw_fd());
    let removals = errand.removals.iter();
    let parents = removals.map(|removal| &removal.place.parent);
    let parents = parents.chain(errand.data_directories.iter().map(|(parent, _)| parent));
    let mut keep: Vec<RawFd> = parents.map(AsRawFd::as_raw_fd).collect();
    keep.extend([read, write]);
    // SAFETY: `run` calls system calls only, on what was built before.
    let pid = unsafe { fork::fork(|| run(errand, read, &mut keep, limit)) }?;
    Ok((lifeline, done, pid))
}

fn run(errand: &Errand, lifeline: RawFd, keep: &mut [RawFd], limit: RawFd) {
    // SAFETY: plain system calls on numbers and constants. Every signal stays blocked, as the fork
    // left it.
    unsafe {
        libc::setsid();
        libc::chdir(c"/".as_ptr());
    }
    fork::name_this_process(c"pg-proc guard");
    fork::reset_signals();
    fork::close_all_but(keep, limit);
    fork::let_go_of_streams();
    let mut byte = [0];
    if fork::read(lifeline, &mut byte) <= 0 {
        for (parent, names) in &errand.data_directories {
            release_memory(parent.as_raw_fd(), names);
        }
        for removal in &errand.removals {
            remove(removal);
        }
    }
    // SAFETY: ends this process without running anything of the owner's.
    unsafe { libc::_exit(0) }
}

/// Tries again for a second as long as somebody else still writes there.
fn remove(removal: &Removal) {
    let until = fork::now_ms().saturating_add(1000);
    let mut marker = removal.marker.as_deref();
    loop {
        let Place { parent, name } = &removal.place;
        let Some((fd, info)) = open(parent.as_raw_fd(), name) else {
            return;
        };
        let same = (info.st_dev as u64, info.st_ino as u64) == (removal.device, removal.inode);
        if !same || !has_marker(fd, marker) {
            // SAFETY: opened above.
            unsafe { libc::close(fd) };
            return;
        }
        empty(fd, removal);
        if removal.content_only {
            return;
        }
        // Seen once, and removed meanwhile.
        marker = None;
        // SAFETY: the name ends with a zero byte. An empty directory is all that this can remove.
        let gone =
            unsafe { libc::unlinkat(parent.as_raw_fd(), name.as_ptr(), libc::AT_REMOVEDIR) } == 0;
        if gone || Errno::last_raw() != libc::ENOTEMPTY || fork::now_ms() > until {
            return;
        }
        fork::pause(5);
    }
}

/// Opens a directory, unless a link has taken its place.
fn open(parent: RawFd, name: &CStr) -> Option<(c_int, libc::stat)> {
    // SAFETY: the name ends with a zero byte; all zeros is a value of the plain C struct that the
    // call fills in.
    unsafe {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        let fd = libc::openat(parent, name.as_ptr(), flags);
        let mut info: libc::stat = std::mem::zeroed();
        if fd < 0 {
            return None;
        }
        if libc::fstat(fd, &mut info) != 0 {
            libc::close(fd);
            return None;
        }
        Some((fd, info))
    }
}

fn has_marker(directory: c_int, marker: Option<&CStr>) -> bool {
    let Some(marker) = marker else { return true };
    // SAFETY: as above.
    unsafe {
        let mut info: libc::stat = std::mem::zeroed();
        libc::fstatat(
            directory,
            marker.as_ptr(),
            &mut info,
            libc::AT_SYMLINK_NOFOLLOW,
        ) == 0
            && info.st_mode & libc::S_IFMT == libc::S_IFREG
    }
}

/// Gives back what a killed server of this directory left behind. A server that is just being
/// killed is waited for.
fn release_memory(parent: RawFd, names: &[CString]) {
    let mut found: Option<(c_int, libc::stat)> = None;
    for name in names {
        let next = open(found.map_or(parent, |(fd, _)| fd), name);
        if let Some((fd, _)) = found {
            // SAFETY: opened in the round before.
            unsafe { libc::close(fd) };
        }
        found = next;
        if found.is_none() {
            return;
        }
    }
    let Some((fd, info)) = found else { return };
    let mut lock_file = [0; 8192];
    // SAFETY: constants and numbers; both descriptors are closed here.
    let length = unsafe {
        let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
        let file = libc::openat(fd, c"postmaster.pid".as_ptr(), flags);
        let length = if file < 0 {
            0
        } else {
            fork::read(file, &mut lock_file)
        };
        libc::close(file);
        libc::close(fd);
        usize::try_from(length).unwrap_or(0)
    };
    let directory = DirectoryOf {
        device: info.st_dev as u64,
        inode: info.st_ino as u64,
        uid: info.st_uid,
        lock_file: lock_file.get(..length).unwrap_or_default(),
    };
    let until = fork::now_ms().saturating_add(1000);
    while let Err(Refusal::InUse(_)) = release(&directory) {
        if fork::now_ms() > until {
            return;
        }
        fork::pause(5);
    }
}

#[cfg(target_os = "linux")]
use tree::empty;

/// Removing a tree with nothing but system calls. Directories are held open, never named by a path,
/// so a directory that is replaced by a link meanwhile leads nowhere; other file systems mounted
/// below are left alone.
#[cfg(target_os = "linux")]
mod tree {
    use super::*;

    /// Deeper than any tree of PostgreSQL's, and shallow enough for the stack.
    const MAX_DEPTH: usize = 64;

    /// Empties the directory and closes it. The marker goes last: a removal that was cut short can
    /// be taken up again.
    pub(super) fn empty(fd: c_int, removal: &Removal) {
        let marker = removal.marker.as_deref().map(|m| m.to_bytes());
        empty_below(fd, removal.device, marker, MAX_DEPTH);
        if let Some(marker) = &removal.marker {
            // SAFETY: the name ends with a zero byte.
            unsafe { libc::unlinkat(fd, marker.as_ptr(), 0) };
        }
        // SAFETY: handed over by the caller.
        unsafe { libc::close(fd) };
    }

    #[repr(C, align(8))]
    struct Buffer([u8; 2048]);

    fn empty_below(fd: c_int, device: u64, spare: Option<&[u8]>, depth: usize) {
        let mut buffer = Buffer([0; 2048]);
        loop {
            // SAFETY: the buffer is valid for its length.
            let n = unsafe {
                libc::syscall(
                    libc::SYS_getdents64,
                    fd,
                    buffer.0.as_mut_ptr(),
                    buffer.0.len(),
                )
            };
            let mut rest = match usize::try_from(n) {
                Ok(n) if n > 0 => buffer.0.get(..n).unwrap_or_default(),
                _ => return,
            };
            while let Some((name, next)) = entry(rest) {
                rest = next;
                if name != b".\0" && name != b"..\0" && name.strip_suffix(b"\0") != spare {
                    remove_entry(fd, name, device, depth);
                }
            }
        }
    }

    /// Takes one `linux_dirent64` off: inode and offset, 8 bytes each, length of the record, 2,
    /// type, 1, and the name with its zero byte.
    fn entry(records: &[u8]) -> Option<(&[u8], &[u8])> {
        let length = usize::from(u16::from_ne_bytes([*records.get(16)?, *records.get(17)?]));
        let name = records.get(19..length)?;
        let end = name.iter().position(|&byte| byte == 0)?;
        Some((name.get(..=end)?, records.get(length..)?))
    }

    fn remove_entry(parent: c_int, name: &[u8], device: u64, depth: usize) {
        let name = name.as_ptr().cast();
        // SAFETY: the name ends with a zero byte; `info` is valid; the descriptor opened here is
        // closed here.
        unsafe {
            if libc::unlinkat(parent, name, 0) == 0 || depth == 0 {
                return;
            }
            let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
            let fd = libc::openat(parent, name, flags);
            if fd < 0 {
                return;
            }
            let mut info: libc::stat = std::mem::zeroed();
            if libc::fstat(fd, &mut info) == 0 && info.st_dev == device {
                empty_below(fd, device, None, depth - 1);
            }
            libc::close(fd);
            libc::unlinkat(parent, name, libc::AT_REMOVEDIR);
        }
    }
}

/// Elsewhere reading a directory takes memory management, which is forbidden here, so `find` does
/// it.
#[cfg(not(target_os = "linux"))]
fn empty(fd: c_int, _removal: &Removal) {
    // SAFETY: system calls on numbers and on strings that end with a zero byte; the child execs or
    // ends.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            let argv = [
                c"find".as_ptr(),
                c"-x".as_ptr(),
                c".".as_ptr(),
                c"-mindepth".as_ptr(),
                c"1".as_ptr(),
                c"-delete".as_ptr(),
                std::ptr::null(),
            ];
            let envp = [std::ptr::null::<libc::c_char>()];
            if libc::fchdir(fd) == 0 {
                libc::execve(c"/usr/bin/find".as_ptr(), argv.as_ptr(), envp.as_ptr());
            }
            libc::_exit(127);
        }
        libc::close(fd);
        fork::reap(child);
    }
}
