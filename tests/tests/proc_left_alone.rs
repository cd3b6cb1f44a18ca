//! The child processes of a detached server that was killed by another program.
//!
//! In its own test program, since the warden kills the processes left behind when another server of
//! the same program exits.

mod proc_fixture;

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use pg_proc::{
    Deadline, FindError, Found, Orphans, Ownership, Postmaster, SharedMemoryErrorKind, Signal,
    StaleReason, Status, release_shared_memory,
};
use proc_fixture::{Cluster, busy, patience, wait_until_busy};

/// Another process kills the postmaster, and its children remain: the warden of a detached server
/// does not kill them.
#[test]
fn children_of_a_killed_postmaster_are_orphans() {
    let cluster = Cluster::new();
    let detached = cluster.options().ownership(Ownership::Detached);
    let server = cluster.command().spawn_server(&detached).expect("spawn");
    server.wait_ready(patience()).expect("ready");
    let find = |found: Result<Found, FindError>| match found {
        Ok(Found::Running(found)) => found,
        other => panic!("{other:?}"),
    };
    let found = find(Postmaster::find(&cluster.data));
    let portable = find(Postmaster::find_portably(&cluster.data));
    let client = busy(&cluster);
    wait_until_busy(&cluster, 1);

    found.send(Signal::Kill).expect("signal");
    // The busy one is left, whichever way it is seen.
    let soon = || Deadline::after(Duration::from_millis(200));
    found.wait_gone(soon()).expect_err("a backend");
    portable.wait_gone(soon()).expect_err("a backend");
    match Postmaster::find(&cluster.data) {
        Ok(Found::Stale(stale)) => assert!(matches!(stale.reason, StaleReason::Gone)),
        other => panic!("{other:?}"),
    }
    let in_use = release_shared_memory(&cluster.data).expect_err("in use");
    assert!(
        matches!(in_use.kind(), SharedMemoryErrorKind::InUse { .. }),
        "{in_use}"
    );

    let orphans = Orphans::find(&cluster.data).expect("orphans");
    assert!(!orphans.is_empty());
    orphans.kill(patience()).expect("killed");
    client.join().expect("no panic");
    found.wait_gone(patience()).expect("gone");
    portable.wait_gone(patience()).expect("gone");
    let status = server
        .wait_gone(patience())
        .expect("gone")
        .expect("its end was seen");
    assert_eq!(status.signal(), Some(Signal::Kill.as_raw()));
    assert_eq!(
        cluster.start().postmaster().wait_ready(patience()).ok(),
        Some(Status::Ready)
    );
}
