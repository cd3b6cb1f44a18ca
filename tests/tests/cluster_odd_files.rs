//! Data directories with things that are no files in the place of files.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs;
use std::time::Duration;

use pg_cluster::{Ownership, StartOptions};
use pg_tests::{OPERATIONS, Room, complete_server, servers};
use rustix::fs::{CWD, Mode, mkfifoat};

/// Who opens a FIFO waits until somebody opens its other end, and nobody ever does.
#[test]
fn a_fifo_keeps_nobody_waiting() {
    let room = Room::new();
    let cluster = room.cluster(&complete_server());
    let options = room.start_options().ownership(Ownership::Detached);
    let options: StartOptions = options.timeout(Duration::from_secs(1));
    for name in [
        "PG_VERSION",
        "global/pg_control",
        "postgresql.conf",
        "postgresql.auto.conf",
        "postmaster.opts",
        "postmaster.pid",
        "server.log",
    ] {
        let path = cluster.data_directory().join(name);
        let aside = room.join("aside");
        let was_there = fs::rename(&path, &aside).is_ok();
        mkfifoat(CWD, path.as_std_path(), Mode::from_raw_mode(0o666)).unwrap();
        for (_, operation) in OPERATIONS {
            operation(&cluster);
        }
        cluster.start(&options).unwrap_err();
        fs::remove_file(&path).unwrap();
        if was_there {
            fs::rename(&aside, &path).unwrap();
        }
    }
    cluster.start(&options).unwrap();
    cluster.kill().unwrap();
}

/// The same for what is written on request of a running server.
#[test]
fn a_fifo_is_no_request() {
    for server in servers() {
        let room = Room::new();
        let cluster = room.cluster(&server);
        cluster.start(&room.start_options()).unwrap();
        for name in ["promote", "logrotate"] {
            let path = cluster.data_directory().join(name);
            mkfifoat(CWD, path.as_std_path(), Mode::from_raw_mode(0o666)).unwrap();
        }
        cluster.promote().unwrap_err();
        cluster.rotate_log().unwrap_err();
    }
}
