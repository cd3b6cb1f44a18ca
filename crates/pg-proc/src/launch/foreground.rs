//! A program in the foreground of the caller's terminal.

use std::io;
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, PoisonError};

use crate::sys;

/// Runs a program in the place of the caller, as far as a user can see: with the terminal, the
/// process group and the standard streams of the caller. Returns its exit status.
///
/// While the program runs, the caller survives SIGHUP, SIGINT, SIGQUIT and SIGTERM. A signal that
/// another process sends to the caller is passed on to the program, and so is the SIGHUP of a
/// closed terminal. The SIGINT or SIGQUIT of a key, such as Ctrl-C, has reached the program
/// already. A signal that the caller ignores, as under `nohup`, stays ignored by both.
///
/// ```
/// let status = pg_proc::run_in_foreground(std::process::Command::new("true"))?;
/// assert!(status.success());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Fails if the program cannot be executed, or the handlers cannot be installed.
///
/// # Cleanup
///
/// On Linux the program gets SIGTERM if the calling thread exits before it, also by SIGKILL. The
/// kernel forgets that for a program that changes its user ID, such as `sudo`, and does not pass it
/// on to the processes that the program starts. On other systems the program goes on running.
///
/// # Threads
///
/// One program at a time runs in the foreground: a second call waits for the first.
pub fn run_in_foreground(mut command: Command) -> io::Result<ExitStatus> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let _handlers = sys::foreground::Handlers::install()?;
    let mut child = sys::foreground::spawn(&mut command)?;
    sys::foreground::wait(&mut child)
}
