//! Signals for a program in the foreground, and a program that exits with its parent.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use nix::libc;
use rustix::process::{WaitId, WaitIdOptions};

use super::fork::pipe;
use crate::pid::Pid;

/// The signals by which users and systems end a program in a terminal.
const CAUGHT: [libc::c_int; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// The descriptor to which the handler writes the signals that are to be passed on.
static INPUT: AtomicI32 = AtomicI32::new(-1);

/// The program in the foreground. Held while it is started, so that a signal that comes meanwhile
/// is passed on afterwards.
static TARGET: Mutex<Option<Pid>> = Mutex::new(None);

/// The handlers of this process while a program runs in its foreground.
pub(crate) struct Handlers(Vec<(libc::c_int, libc::sigaction)>);

impl Handlers {
    /// Installs the handlers. A signal that is ignored, as under `nohup`, stays ignored: the
    /// program inherits that.
    pub(crate) fn install() -> io::Result<Self> {
        forward()?;
        let mut replaced = Vec::new();
        for signal in CAUGHT {
            // SAFETY: the structures are valid, zeroed and then filled in. The handler calls only
            // functions that are async-signal-safe.
            unsafe {
                let mut before: libc::sigaction = std::mem::zeroed();
                if libc::sigaction(signal, ptr::null(), &mut before) != 0 {
                    return Err(io::Error::last_os_error());
                }
                if before.sa_sigaction == libc::SIG_IGN {
                    continue;
                }
                let mut ours: libc::sigaction = std::mem::zeroed();
                ours.sa_sigaction = on_signal as *const () as libc::sighandler_t;
                ours.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
                libc::sigemptyset(&mut ours.sa_mask);
                if libc::sigaction(signal, &ours, ptr::null_mut()) != 0 {
                    return Err(io::Error::last_os_error());
                }
                replaced.push((signal, before));
            }
        }
        Ok(Self(replaced))
    }
}

impl Drop for Handlers {
    fn drop(&mut self) {
        for (signal, before) in &self.0 {
            // SAFETY: the structure is the one that the kernel has filled in.
            unsafe { libc::sigaction(*signal, before, ptr::null_mut()) };
        }
    }
}

extern "C" fn on_signal(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: the kernel passes a valid structure with SA_SIGINFO.
    if is_from_keyboard(signal, unsafe { (*info).si_code }) {
        return;
    }
    let byte = signal as u8;
    // SAFETY: `write` is async-signal-safe, and the descriptor is never closed. The pipe does not
    // block: if it is full, many such signals are on their way already.
    unsafe {
        let errno = nix::errno::Errno::last_raw();
        libc::write(
            INPUT.load(Ordering::Relaxed),
            ptr::from_ref(&byte).cast(),
            1,
        );
        nix::errno::Errno::set_raw(errno);
    }
}

/// Returns whether the kernel sent the signal for a key: to the whole foreground group, which the
/// program belongs to. A terminal that hangs up sends SIGHUP to the leader of the session alone
/// (`tty_signal_session_leader` in drivers/tty/tty_jobctrl.c).
fn is_from_keyboard(signal: libc::c_int, code: libc::c_int) -> bool {
    if !matches!(signal, libc::SIGINT | libc::SIGQUIT) {
        return false;
    }
    #[cfg(target_os = "linux")]
    return code == libc::SI_KERNEL;
    // On other systems the code does not show this.
    #[cfg(not(target_os = "linux"))]
    {
        let _ = code;
        true
    }
}

/// Starts the thread that passes signals on, once for a process: a handler cannot take the lock
/// that keeps a reused process ID from being signalled.
fn forward() -> io::Result<()> {
    static OUTPUT: OnceLock<OwnedFd> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if OUTPUT.get().is_some() {
        return Ok(());
    }
    let (output, input) = pipe()?;
    super::set_nonblocking(&input)?;
    std::thread::Builder::new()
        .name("pg-proc signals".to_owned())
        .spawn(move || {
            let mut byte = [0];
            while let Ok(1) = rustix::io::retry_on_intr(|| rustix::io::read(&output, &mut byte)) {
                if let Some(pid) = *target() {
                    // SAFETY: no memory is involved. The process has not been waited for while the
                    // lock is held.
                    unsafe { libc::kill(pid.as_raw(), libc::c_int::from(byte[0])) };
                }
            }
        })?;
    INPUT.store(input.as_raw_fd(), Ordering::Relaxed);
    let _ = OUTPUT.set(input);
    Ok(())
}

fn target() -> MutexGuard<'static, Option<Pid>> {
    TARGET.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a program to which caught signals are passed on. On Linux the kernel sends it SIGTERM
/// when the calling thread exits.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    #[cfg(target_os = "linux")]
    {
        let parent = rustix::process::getpid();
        // SAFETY: the closure makes system calls and does not allocate.
        unsafe {
            command.pre_exec(move || {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                match rustix::process::getppid() == Some(parent) {
                    true => Ok(()),
                    // It exited before the call.
                    false => Err(io::Error::from_raw_os_error(libc::ESRCH)),
                }
            });
        }
    }
    let mut target = target();
    let child = command.spawn()?;
    *target = i32::try_from(child.id()).ok().and_then(Pid::new);
    Ok(child)
}

/// Waits until the program has exited, and passes on no more signals before its process ID is free.
pub(crate) fn wait(child: &mut Child) -> io::Result<std::process::ExitStatus> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::new);
    if let Some(pid) = pid {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let _ = rustix::io::retry_on_intr(|| {
            rustix::process::waitid(WaitId::Pid(pid.rustix()), options)
        });
    }
    *target() = None;
    child.wait()
}
