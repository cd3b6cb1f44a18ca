//! Backends without a postmaster.

use camino::Utf8PathBuf;
use pg_cluster::{Cluster, Signal};
use pg_proc::{Found, Orphans, Postmaster};
use rustix::process::{self, kill_process};

use crate::{ask, connect};

/// A backend whose postmaster was killed, and which does not notice what happens, until it is
/// killed: when this is dropped.
#[derive(Debug)]
pub struct Orphan {
    data_directory: Utf8PathBuf,
    backend: process::Pid,
}

impl Orphan {
    /// Kills the postmaster of a cluster that runs detached, and leaves one of its backends behind.
    ///
    /// # Panics
    ///
    /// If there is no server, or it cannot be signalled.
    pub fn leave_by(cluster: &Cluster) -> Self {
        let mut client = connect(cluster);
        let backend = ask(&mut client, "SELECT pg_backend_pid()").parse().ok();
        let orphan = Self {
            data_directory: cluster.data_directory().to_owned(),
            backend: backend.and_then(process::Pid::from_raw).expect("a number"),
        };
        let Ok(Found::Running(postmaster)) = Postmaster::find(cluster.data_directory()) else {
            panic!("a server runs")
        };
        kill_process(orphan.backend, process::Signal::STOP).expect("stopped");
        postmaster.send(Signal::Kill).expect("killed");
        while postmaster.is_alive() {
            std::thread::yield_now();
        }
        orphan
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        // It may have been ended, and its number be somebody else's.
        let left = Orphans::find(&self.data_directory).map(|orphans| orphans.pids());
        let number = self.backend.as_raw_nonzero().get();
        if left.is_ok_and(|left| left.iter().any(|pid| pid.as_raw() == number)) {
            let _ = kill_process(self.backend, process::Signal::KILL);
        }
    }
}
