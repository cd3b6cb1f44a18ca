//! The owner's side of a program that the warden watches.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::deadline::Deadline;
use crate::maker::Maker;
use crate::signal::Signal;
use crate::sys::{self, Launched, Process, Report};

/// A program that the warden watches.
#[derive(Debug)]
pub(crate) struct Supervised {
    lifeline: Option<OwnedFd>,
    reports: OwnedFd,
    heard: Mutex<Heard>,
    /// The reports are for this process only: each is read once.
    maker: Maker,
}

#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    status: Option<ExitStatus>,
    all_gone: bool,
    /// The warden has sent its last report, or has exited.
    silent: bool,
}

impl Supervised {
    pub(crate) fn new(launched: Launched) -> (Self, Process) {
        let Launched {
            lifeline,
            reports,
            process,
            ..
        } = launched;
        let heard = Mutex::default();
        (
            Self {
                lifeline: Some(lifeline),
                reports,
                heard,
                maker: Maker::this_process(),
            },
            process,
        )
    }

    /// Becomes readable with every report, and stays readable after the warden's last report.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.reports.as_fd()
    }

    /// The exit status of the program, once it has exited. None also if the warden was killed and
    /// the exit was not observed.
    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        self.listen().status
    }

    /// The exit status of the program, once it has exited, and whether more reports can follow.
    /// Both are taken at the same moment, because the last reports arrive close together.
    pub(crate) fn exit_status_or_silence(&self) -> (Option<ExitStatus>, bool) {
        let heard = self.listen();
        (heard.status, heard.all_gone || heard.silent)
    }

    /// Waits until the warden has reported the exit of the program, or has exited.
    pub(crate) fn wait_exit_status(&self, deadline: Deadline) -> Option<ExitStatus> {
        self.wait(deadline, |heard| heard.status.is_some() || heard.silent)
            .status
    }

    /// Waits until nothing of the program is left; whether that came true.
    pub(crate) fn wait_all_gone(&self, deadline: Deadline) -> bool {
        let heard = self.wait(deadline, |heard| heard.all_gone || heard.silent);
        heard.all_gone || heard.silent
    }

    /// Signals the program as its parent, so never another process. Does nothing after the program
    /// has exited.
    pub(crate) fn signal(&self, signal: Signal) {
        // All signals that a postmaster knows have small numbers.
        self.command(&[sys::command::SIGNAL, signal.as_raw() as u8]);
    }

    pub(crate) fn command(&self, bytes: &[u8]) {
        if let Some(lifeline) = &self.lifeline {
            sys::send(lifeline, bytes);
        }
    }

    /// Closes the lifeline: the warden now does what was ordered for the exit of the owner.
    pub(crate) fn let_go(&mut self) {
        self.lifeline = None;
    }

    fn wait(&self, deadline: Deadline, enough: impl Fn(&Heard) -> bool) -> Heard {
        loop {
            let heard = self.listen();
            if enough(&heard) || deadline.is_over() || !self.is_here() {
                return heard;
            }
            deadline.poll(&mut [PollFd::new(&self.reports, PollFlags::IN)]);
        }
    }

    /// Returns whether this is the process that started the program, and not one forked from it.
    pub(crate) fn is_here(&self) -> bool {
        self.maker.is_this_process()
    }

    /// Takes in what was reported, without waiting.
    fn listen(&self) -> Heard {
        if !self.is_here() {
            // Another thread may have held the lock when this process was forked.
            return self
                .heard
                .try_lock()
                .map(|heard| *heard)
                .unwrap_or_default();
        }
        let mut heard: MutexGuard<'_, Heard> =
            self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        while !heard.silent {
            let mut fds = [PollFd::new(&self.reports, PollFlags::IN)];
            if !matches!(
                rustix::event::poll(&mut fds, Some(&Timespec::default())),
                Ok(1..)
            ) {
                break;
            }
            let mut bytes = [0; Report::SIZE];
            match rustix::io::read(&self.reports, &mut bytes) {
                Ok(Report::SIZE) => match Report::from_bytes(bytes) {
                    Some(Report::Exited(status)) => {
                        heard.status = Some(ExitStatus::from_raw(status));
                    }
                    Some(Report::AllGone) => heard.all_gone = true,
                    _ => {}
                },
                Err(rustix::io::Errno::INTR) => {}
                _ => {
                    heard.silent = true;
                }
            }
        }
        *heard
    }
}
