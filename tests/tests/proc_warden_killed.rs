//! A killed warden. In its own test program, since all servers of a program exit with its warden.

#![cfg(target_os = "linux")]

mod proc_fixture;

use std::fs;

use camino::Utf8Path;
use pg_proc::{Command, GuardOptions};
use proc_fixture::{Cluster, Process, patience};

/// A killed warden is replaced at the next order, and what it guarded is removed all the same.
#[test]
fn a_killed_warden_is_replaced() {
    let room = tempfile::tempdir().expect("a directory");
    let room = Utf8Path::from_path(room.path()).expect("UTF-8");
    let guarded = room.join("guarded");
    fs::create_dir_all(guarded.join("below")).expect("mkdir");
    let guard = GuardOptions::new().remove(&guarded).guard().expect("guard");

    let cluster = Cluster::new();
    let server = cluster.start();
    let [process, warden] = Process::open_with_parent(server.pid())
        .try_into()
        .ok()
        .expect("two");
    warden.kill();
    process.wait_gone();
    server.wait_gone(patience()).expect("gone");
    assert_eq!(server.exit_status(), None);

    let output = Command::new("/bin/echo")
        .arg("still")
        .run(patience())
        .expect("echo");
    assert_eq!(output.stdout, b"still\n");
    drop(guard);
    assert!(!guarded.exists());
    cluster
        .start()
        .wait_gone(std::time::Duration::ZERO)
        .expect_err("a server");
}
