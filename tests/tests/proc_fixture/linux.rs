//! Processes and directories of tests, by pidfd and inotify.

use std::fs;
use std::os::fd::OwnedFd;

use camino::Utf8Path;
use pg_proc::Pid;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify;
use rustix::process::PidfdFlags;

/// A process that the tests did not start themselves.
pub(crate) struct Process(OwnedFd);

impl Process {
    /// None if it has exited already.
    pub(crate) fn open(pid: Pid) -> Option<Self> {
        let pid = rustix::process::Pid::from_raw(pid.as_raw())?;
        rustix::process::pidfd_open(pid, PidfdFlags::empty())
            .ok()
            .map(Self)
    }

    /// A server, and the process that watches over it.
    pub(crate) fn open_with_parent(server: Pid) -> Vec<Self> {
        let parent = fs::read_to_string(format!("/proc/{server}/stat"))
            .ok()
            .and_then(|stat| {
                let (_, fields) = stat.rsplit_once(") ")?;
                fields.split(' ').nth(1)?.parse().ok()
            });
        [Some(server), parent]
            .into_iter()
            .flatten()
            .filter_map(Self::open)
            .collect()
    }

    pub(crate) fn kill(&self) {
        rustix::process::pidfd_send_signal(&self.0, rustix::process::Signal::KILL).expect("kill");
    }

    pub(crate) fn wait_gone(&self) {
        assert!(becomes_readable(&self.0), "still there");
    }

    pub(crate) fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&Timespec::default())).expect("poll") == 1
    }
}

/// Waits for that, within reason.
fn becomes_readable(descriptor: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(descriptor, PollFlags::IN)];
    let patience = Timespec {
        tv_sec: 60,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut fds, Some(&patience)) == Ok(1)
}

/// Waits until a directory is removed.
pub(crate) fn wait_removed(path: &Utf8Path) {
    let events = inotify::init(inotify::CreateFlags::CLOEXEC).expect("inotify");
    let parent = path.parent().expect("a parent").as_std_path();
    inotify::add_watch(&events, parent, inotify::WatchFlags::DELETE).expect("a watch");
    while path.exists() {
        assert!(becomes_readable(&events), "{path} is still there");
        rustix::io::read(&events, &mut [0; 4096]).expect("events");
    }
}
