//! Signals to a process that a test knows, and their effect on the state of a server.

use std::process::Command;

use pg_cluster::{Cluster, Pid, State};

/// Sends the signal of this name, such as `-STOP`, to the process.
///
/// # Panics
///
/// If the signal is not sent.
pub fn signal(pid: Pid, name: &str) {
    let status = Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "kill {name} {pid}"
    );
}

/// Waits until the ready server of the cluster is suspended: the kernel stops it as soon as it gets
/// to it.
///
/// # Panics
///
/// If its state is another one meanwhile.
pub fn await_suspended(cluster: &Cluster, pid: Pid) {
    loop {
        match cluster.state().expect("the state of a server of the test") {
            State::Suspended(found) if found == pid => break,
            state => assert_eq!(state, State::Ready(pid)),
        }
    }
}
