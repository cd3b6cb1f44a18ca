//! Processes and directories of tests, by what every Unix has. Compiled in CI, and run nowhere
//! there.

use std::process::Command;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use pg_proc::Pid;
use rustix::process::{Signal, kill_process, test_kill_process};

/// A process that the tests did not start themselves.
pub(crate) struct Process(rustix::process::Pid);

impl Process {
    /// None if it has exited already.
    pub(crate) fn open(pid: Pid) -> Option<Self> {
        let process = Self(rustix::process::Pid::from_raw(pid.as_raw())?);
        (!process.has_ended()).then_some(process)
    }

    /// A server, and the process that watches over it.
    pub(crate) fn open_with_parent(server: Pid) -> Vec<Self> {
        let ps = Command::new("ps")
            .args(["-o", "ppid=", "-p", &server.to_string()])
            .output()
            .expect("ps runs");
        let parent = String::from_utf8_lossy(&ps.stdout).trim().parse().ok();
        [Some(server), parent]
            .into_iter()
            .flatten()
            .filter_map(Self::open)
            .collect()
    }

    pub(crate) fn kill(&self) {
        kill_process(self.0, Signal::KILL).expect("kill");
    }

    pub(crate) fn wait_gone(&self) {
        wait_until(|| self.has_ended(), "the process is still there");
    }

    pub(crate) fn has_ended(&self) -> bool {
        test_kill_process(self.0) == Err(rustix::io::Errno::SRCH)
    }
}

/// Waits until a directory is removed.
pub(crate) fn wait_removed(path: &Utf8Path) {
    wait_until(|| !path.exists(), "the directory is still there");
}

/// No event is common to all systems.
fn wait_until(is_so: impl Fn() -> bool, otherwise: &str) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{otherwise}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
