//! The warden's side of an errand: removing directories and releasing shared memory.

use std::ffi::CStr;
use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::libc::{self, c_int, pid_t};

use super::payload::Payload;
use super::protocol::{
    ErrandOrder, MAX_DESCRIPTORS, MAX_PARENTS, MemoryOrder, RemovalOrder, Report,
};
use crate::sys::fork;
use crate::sys::shared_memory::{DirectoryOf, Refusal, release};

/// An errand that waits for its lifeline to end, or is being done. Everything here is
/// async-signal-safe.
#[derive(Clone, Copy)]
pub(super) struct Guarding {
    payload: Payload<ErrandOrder>,
    lifeline: RawFd,
    done: RawFd,
    parents: [RawFd; MAX_PARENTS],
    /// The process that does it; zero before it has begun.
    worker: pid_t,
    is_over: bool,
    /// True if the lifeline may have a message or have ended.
    pub(super) is_ready: bool,
}

impl Guarding {
    pub(super) fn begin(descriptors: &[RawFd; MAX_DESCRIPTORS]) -> Option<Self> {
        let [file, lifeline, done, parents @ ..] = *descriptors;
        let payload = Payload::map(file);
        close(&[file]);
        if payload.is_none() {
            close(&[lifeline, done]);
            close(&parents);
        }
        let payload = payload?;
        fork::write_all(done, &Report::Started(0).to_bytes());
        Some(Self {
            payload,
            lifeline,
            done,
            parents,
            worker: 0,
            is_over: false,
            is_ready: false,
        })
    }

    pub(super) fn waits_for(&self) -> RawFd {
        if self.worker == 0 { self.lifeline } else { -1 }
    }

    pub(super) fn is(&self, pid: pid_t) -> bool {
        pid == self.worker && pid > 0
    }

    /// Reaps the worker if it has exited.
    pub(super) fn collect(&mut self) {
        if self.worker > 0 && !self.is_over {
            // SAFETY: no status is requested.
            let pid = unsafe { libc::waitpid(self.worker, std::ptr::null_mut(), libc::WNOHANG) };
            self.has_ended(pid);
        }
    }

    /// Takes note of a child that was waited for.
    pub(super) fn has_ended(&mut self, pid: pid_t) {
        self.is_over |= self.is(pid);
    }

    /// Begins with the errand if it is time; whether there is more to do.
    pub(super) fn goes_on(&mut self) -> bool {
        let mut byte = [0];
        if self.is_ready && self.worker == 0 {
            match fork::read(self.lifeline, &mut byte) {
                0 => self.begin_work(),
                n if n > 0 => self.is_over = true,
                _ => {}
            }
        }
        if self.is_over {
            close(&[self.lifeline, self.done]);
            close(&self.parents);
            self.payload.unmap();
        }
        !self.is_over
    }

    /// A separate process removes, so that the warden stays responsive.
    fn begin_work(&mut self) {
        // SAFETY: this process has one thread, and the child ends without running anything of the
        // owner's.
        let child = unsafe { fork::fork_alone() };
        if child <= 0 {
            self.work();
            if child == 0 {
                // SAFETY: as above.
                unsafe { libc::_exit(0) };
            }
            // If no process can be created, the work is done now.
            self.is_over = true;
        }
        self.worker = child;
    }

    fn work(&self) {
        let order = self.payload.header();
        let parent = |index: usize| self.parents.get(index).copied().unwrap_or(-1);
        let data_directories: &[MemoryOrder] = self
            .payload
            .values(order.data_directories, order.data_directory_count);
        for directory in data_directories {
            let names = self.payload.values(directory.names, directory.name_count);
            let names = names.iter().filter_map(|&place| self.payload.string(place));
            release_memory(parent(directory.parent), names);
        }
        let removals: &[RemovalOrder] = self.payload.values(order.removals, order.removal_count);
        for removal in removals {
            if let Some(name) = self.payload.string(removal.name) {
                remove(&Doomed {
                    parent: parent(removal.parent),
                    name,
                    device: removal.device,
                    inode: removal.inode,
                    marker: self.payload.string(removal.marker),
                    content_only: removal.content_only != 0,
                });
            }
        }
        fork::write_all(self.done, DONE);
    }
}

/// Written when everything was done.
const DONE: &[u8] = b"D";

/// A directory to be removed, as the warden identifies it.
struct Doomed<'a> {
    parent: RawFd,
    name: &'a CStr,
    device: u64,
    inode: u64,
    marker: Option<&'a CStr>,
    content_only: bool,
}

/// Tries again for a second as long as another process still writes there.
fn remove(removal: &Doomed<'_>) {
    let until = fork::now_ms().saturating_add(1000);
    let mut marker = removal.marker;
    loop {
        let Some((fd, info)) = open(removal.parent, removal.name) else {
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
        // SAFETY: the name ends with a zero byte. This can only remove an empty directory.
        let gone =
            unsafe { libc::unlinkat(removal.parent, removal.name.as_ptr(), libc::AT_REMOVEDIR) }
                == 0;
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

/// Releases the memory left behind by a killed server of this directory. Waits for a server that is
/// just being killed.
fn release_memory<'a>(parent: RawFd, names: impl Iterator<Item = &'a CStr>) {
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

#[cfg(all(target_os = "linux", not(pg_portable)))]
use tree::empty;

/// Removing a tree with nothing but system calls. Directories are held open, never named by a path,
/// so a directory that is replaced by a link meanwhile leads nowhere; other file systems mounted
/// below are left alone.
#[cfg(all(target_os = "linux", not(pg_portable)))]
mod tree {
    use super::*;

    /// Deeper than any tree of PostgreSQL's, and shallow enough for the stack.
    const MAX_DEPTH: usize = 64;

    /// Empties the directory and closes it. The marker goes last: a removal that was cut short can
    /// be taken up again.
    pub(super) fn empty(fd: c_int, removal: &Doomed<'_>) {
        let marker = removal.marker.map(CStr::to_bytes);
        empty_below(fd, removal.device, marker, MAX_DEPTH);
        if let Some(marker) = removal.marker {
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
#[cfg(not(all(target_os = "linux", not(pg_portable))))]
fn empty(fd: c_int, _removal: &Doomed<'_>) {
    // SAFETY: system calls on numbers and on strings that end with a zero byte; the child execs or
    // exits.
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

fn close(descriptors: &[RawFd]) {
    for &fd in descriptors.iter().filter(|&&fd| fd >= 0) {
        // SAFETY: it was sent along with the order, and is not used any more.
        unsafe { libc::close(fd) };
    }
}
