//! The owner's side of the warden: finding or starting it, and sending it orders.
//!
//! On Linux the warden is this program executed anew. An initializer, which the loader runs before
//! `main`, detects that the process is to be the warden, and never returns. So the warden has none
//! of the owner's memory, and starting it costs the same in a program of eight gigabytes as in a
//! small one. No page that the owner writes later is duplicated.
//!
//! If that is impossible, the warden is forked: if this crate is part of a library that another
//! program loads, if `/proc` or exec is unavailable, and on systems other than Linux. On Linux a
//! forked warden releases the memory that it has inherited.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, PoisonError};

use nix::libc::{self, c_int, pid_t};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::protocol::MAX_DESCRIPTORS;
use super::serve;
use super::sigpipe::BlockedSigpipe;
use crate::sys::fork;

/// The warden of this process, and whose it is.
struct Warden {
    control: OwnedFd,
    owner: Owner,
}

/// A process that was forked from the owner, or has other rights or another root directory than it
/// had, needs another warden.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Owner {
    pid: u32,
    uid: u32,
    gid: u32,
    /// Device and inode of the root directory, where it can be seen.
    root: Option<(u64, u64)>,
}

impl Owner {
    fn current() -> Self {
        Self {
            pid: std::process::id(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            root: std::fs::metadata("/")
                .ok()
                .map(|root| (root.dev(), root.ino())),
        }
    }
}

static WARDEN: Mutex<Option<Warden>> = Mutex::new(None);

/// Sends an order to the warden, and starts the warden if none is running.
pub(super) fn send(kind: u8, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut slot = WARDEN.lock().unwrap_or_else(PoisonError::into_inner);
    let owner = Owner::current();
    if slot.as_ref().is_none_or(|warden| warden.owner != owner) {
        *slot = None;
    }
    if let Some(warden) = &*slot {
        match warden.send(kind, descriptors) {
            // It was killed.
            Err(Errno::PIPE | Errno::CONNRESET) => {}
            result => return Ok(result?),
        }
    }
    let warden = slot.insert(Warden {
        control: start()?,
        owner,
    });
    Ok(warden.send(kind, descriptors)?)
}

impl Warden {
    fn send(&self, kind: u8, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
        let _no_signal = BlockedSigpipe::new();
        loop {
            let text = [io::IoSlice::new(std::slice::from_ref(&kind))];
            match sendmsg(&self.control, &text, &mut ancillary, SendFlags::empty()) {
                Err(Errno::INTR) => {}
                result => return result.map(drop),
            }
        }
    }
}

fn start() -> io::Result<OwnedFd> {
    #[cfg(all(target_os = "linux", not(pg_portable)))]
    if let Some(control) = linux::execute()? {
        return Ok(control);
    }
    let (ours, its) = control()?;
    let limit = fork::descriptor_limit();
    let end = its.as_raw_fd();
    // SAFETY: `adopt` calls system calls only.
    let middle = unsafe { fork::fork(|| adopt(end, limit)) }?;
    match failure(fork::reap(middle)) {
        Some(error) => Err(error),
        None => Ok(ours),
    }
}

/// A pair of sockets: orders go from the first to the second.
fn control() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    #[cfg(not(target_vendor = "apple"))]
    let flags = SocketFlags::CLOEXEC;
    #[cfg(target_vendor = "apple")]
    let flags = SocketFlags::empty();
    let (ours, its) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    for end in [&ours, &its] {
        rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
    }
    Ok((fork::above_standard(ours)?, fork::above_standard(its)?))
}

/// Becomes the warden in a child of the owner: releases the owner's memory and continues in a
/// grandchild, which the owner cannot reap.
fn adopt(control: RawFd, limit: RawFd) {
    #[cfg(all(target_os = "linux", not(pg_portable)))]
    super::shed::shed_memory();
    run_in_child(control, limit);
}

/// Async-signal-safe.
fn run_in_child(control: RawFd, limit: RawFd) {
    // SAFETY: both processes go on with system calls only, or end.
    let child: pid_t = unsafe { fork::fork_alone() };
    let status = match child {
        0 => serve::run(control, limit),
        -1 => nix::errno::Errno::last_raw(),
        _ => 0,
    };
    // SAFETY: ends this process without running anything of the owner's.
    unsafe { libc::_exit(status) }
}

/// The reason why the intermediate process has no child, by its exit status, if it is known.
fn failure(status: Option<c_int>) -> Option<io::Error> {
    let status = status.filter(|&status| libc::WIFEXITED(status))?;
    let errno = libc::WEXITSTATUS(status);
    (errno != 0).then(|| io::Error::from_raw_os_error(errno))
}

#[cfg(all(target_os = "linux", not(pg_portable)))]
mod linux {
    use std::ffi::{CStr, CString};
    use std::os::unix::ffi::OsStringExt as _;
    use std::ptr;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags};

    use super::*;
    use crate::deadline::Deadline;

    /// The number of the control socket in the new process.
    const CONTROL: RawFd = 3;
    /// The variable that makes a process the warden.
    const VARIABLE: &CStr = c"PG_PROC_WARDEN";
    /// The path that is executed: this program, even if its file was replaced.
    const PROGRAM: &CStr = c"/proc/self/exe";
    /// The name that `ps` shows.
    const TITLE: &CStr = c"pg-proc: warden";
    /// Written by the warden before anything else.
    const GREETING: &[u8] = b"W";
    /// The longest time that the program may take to load.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// Executes this program as the warden; none where that is not possible.
    pub(super) fn execute() -> io::Result<Option<OwnedFd>> {
        if !is_in_program() {
            return Ok(None);
        }
        let (ours, its) = control()?;
        let Some(middle) = spawn(&its) else {
            return Ok(None);
        };
        drop(its);
        let deadline = Deadline::after(PATIENCE);
        let mut greeting = [0];
        let has_come = deadline.poll(&mut [PollFd::new(&ours, PollFlags::IN)])
            && fork::read(ours.as_raw_fd(), &mut greeting) == 1
            && greeting == GREETING;
        if !has_come {
            // Another initializer of the program may wait for something for ever.
            fork::kill_child(middle);
        }
        let has_failed = failure(fork::reap(middle)).is_some();
        Ok((has_come && !has_failed).then_some(ours))
    }

    /// Returns whether the initializer is part of the program, and not of a library that it has
    /// loaded: only then does it run before `main`.
    fn is_in_program() -> bool {
        // SAFETY: the kernel hands every process its program headers; they are never changed.
        unsafe {
            let headers = libc::getauxval(libc::AT_PHDR) as *const Header;
            let count = libc::getauxval(libc::AT_PHNUM) as usize;
            if headers.is_null() {
                return false;
            }
            let headers = std::slice::from_raw_parts(headers, count);
            let of_headers = headers.iter().find(|h| h.p_type == libc::PT_PHDR);
            // A program that is not relocated may do without that entry.
            let base = of_headers.map_or(0, |h| {
                (headers.as_ptr() as usize).wrapping_sub(h.p_vaddr as usize)
            });
            let place = (initialize as extern "C" fn() as usize).wrapping_sub(base) as u64;
            headers
                .iter()
                .filter(|h| h.p_type == libc::PT_LOAD)
                .any(|h| (h.p_vaddr as u64..h.p_vaddr as u64 + h.p_memsz as u64).contains(&place))
        }
    }

    #[cfg(target_pointer_width = "64")]
    type Header = libc::Elf64_Phdr;
    #[cfg(target_pointer_width = "32")]
    type Header = libc::Elf32_Phdr;

    /// `posix_spawn` does not copy page tables.
    fn spawn(control: &OwnedFd) -> Option<pid_t> {
        // The loader may need these to find the program's libraries.
        let kept = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_vec();
            let pair = [name.as_slice(), value.as_encoded_bytes()].join(&b'=');
            name.starts_with(b"LD_").then(|| CString::new(pair).ok())?
        });
        let mut variables: Vec<CString> = kept.collect();
        variables.push(CString::new([VARIABLE.to_bytes(), b"1"].join(&b'=')).ok()?);
        let mut environment: Vec<_> = variables.iter().map(|v| v.as_ptr().cast_mut()).collect();
        environment.push(ptr::null_mut());
        let arguments = [TITLE.as_ptr().cast_mut(), ptr::null_mut()];
        // `dup2` of a descriptor onto itself would leave it closed by exec.
        let control = match control.as_raw_fd() {
            CONTROL => rustix::io::fcntl_dupfd_cloexec(control, CONTROL + 1).ok()?,
            _ => control.try_clone().ok()?,
        };
        // SAFETY: all structures are initialized by their functions before they are used, the
        // strings end with zero bytes, and the arrays with null pointers.
        unsafe {
            let mut actions: libc::posix_spawn_file_actions_t = std::mem::zeroed();
            let mut attributes: libc::posix_spawnattr_t = std::mem::zeroed();
            libc::posix_spawn_file_actions_init(&mut actions);
            libc::posix_spawnattr_init(&mut attributes);
            libc::posix_spawn_file_actions_adddup2(&mut actions, control.as_raw_fd(), CONTROL);
            // No signal terminates the process before it has set its own dispositions.
            let mut all: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::posix_spawnattr_setsigmask(&mut attributes, &all);
            libc::posix_spawnattr_setflags(&mut attributes, libc::POSIX_SPAWN_SETSIGMASK as _);
            let mut pid = 0;
            let result = libc::posix_spawn(
                &mut pid,
                PROGRAM.as_ptr(),
                &actions,
                &attributes,
                arguments.as_ptr(),
                environment.as_ptr(),
            );
            libc::posix_spawn_file_actions_destroy(&mut actions);
            libc::posix_spawnattr_destroy(&mut attributes);
            (result == 0).then_some(pid)
        }
    }

    #[used]
    #[unsafe(link_section = ".init_array")]
    static INITIALIZE: extern "C" fn() = initialize;

    /// Runs before `main` of every program that this crate is part of, and returns at once, unless
    /// the process was started by [`spawn`].
    extern "C" fn initialize() {
        // SAFETY: constants and numbers; the environment is complete, and there is one thread.
        unsafe {
            if libc::getenv(VARIABLE.as_ptr()).is_null() {
                return;
            }
            // The caller of a program with additional rights must not be able to make it a warden.
            if libc::getauxval(libc::AT_SECURE) != 0 || !is_ours(CONTROL) {
                // If it was this crate all the same, `main` must not run a second time.
                if was_executed_anew() {
                    libc::_exit(1);
                }
                return;
            }
            libc::fcntl(CONTROL, libc::F_SETFD, libc::FD_CLOEXEC);
        }
        fork::write_all(CONTROL, GREETING);
        run_in_child(CONTROL, fork::descriptor_limit());
    }

    /// Returns whether this process was started by the name that [`spawn`] uses.
    fn was_executed_anew() -> bool {
        // SAFETY: the kernel hands every process the name that it was executed by.
        unsafe {
            let name = libc::getauxval(libc::AT_EXECFN) as *const libc::c_char;
            !name.is_null() && CStr::from_ptr(name) == PROGRAM
        }
    }

    /// Returns whether the other end of a socket is a process of the same user.
    fn is_ours(socket: RawFd) -> bool {
        // SAFETY: the structure is valid, and its size is given.
        unsafe {
            let mut peer: libc::ucred = std::mem::zeroed();
            let mut size = size_of::<libc::ucred>() as libc::socklen_t;
            let result = libc::getsockopt(
                socket,
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                ptr::from_mut(&mut peer).cast(),
                &mut size,
            );
            result == 0 && peer.uid == libc::geteuid() && peer.uid == libc::getuid()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A limit of processes, for instance.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_fork_that_fails_is_named() {
        assert!(fork::succeeds_in_forked_process(|| {
            fork::refuse(libc::SYS_clone);
            let error = start().expect_err("no child");
            assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        }));
    }

    /// Orders name paths. Those of a program that has confined itself must not lead out.
    #[test]
    fn another_root_directory_is_another_owner() {
        let is_told_apart = fork::succeeds_in_forked_process(|| {
            let before = Owner::current();
            let may_change = rustix::process::chroot("/tmp").is_ok();
            assert_eq!(Owner::current() != before, may_change);
        });
        assert!(is_told_apart);
    }
}
