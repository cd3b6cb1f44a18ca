//! A backend that outlives its postmaster for some milliseconds.
//!
//! In its own test program, since the warden kills the processes left behind when another server of
//! the same program exits.

mod proc_fixture;

use std::time::Duration;

use pg_proc::{Orphans, Ownership, Signal, release_shared_memory};
use proc_fixture::{Cluster, patience};

/// The kernel frees a killed process's memory, which takes a while, before it lets go of what it
/// shared.
#[test]
fn an_exiting_child_counts_as_an_orphan() {
    let cluster = Cluster::new();
    let detached = cluster.options().ownership(Ownership::Detached);
    let server = cluster.command().spawn_server(&detached).expect("spawn");
    server.wait_ready(patience()).expect("ready");
    let mut client = cluster.connect();
    client
        .batch_execute("SELECT length(set_config('my.memory', repeat('x', 300000000), false))")
        .expect("memory");
    let backend: i32 = client
        .query_one("SELECT pg_backend_pid()", &[])
        .expect("pid")
        .get(0);
    let backend = rustix::process::Pid::from_raw(backend).expect("pid");
    let signal = |signal| rustix::process::kill_process(backend, signal).expect("signal");
    signal(rustix::process::Signal::STOP);
    server.send(Signal::Kill).expect("signal");
    server
        .wait_gone(Duration::from_millis(100))
        .expect_err("a backend");
    signal(rustix::process::Signal::KILL);
    loop {
        let listed = !Orphans::find(&cluster.data)
            .expect("orphans")
            .pids()
            .is_empty();
        if release_shared_memory(&cluster.data).is_ok() {
            break;
        }
        assert!(listed, "it was attached, and was not found");
    }
}
