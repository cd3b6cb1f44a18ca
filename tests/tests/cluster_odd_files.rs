//! Data directories with things that are no files in the place of files.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs;
use std::time::Duration;

use camino::Utf8Path;
use pg_cluster::Ownership;
use pg_tests::{OPERATIONS, Room, complete_server, server};
use rustix::fs::{CWD, Mode, mkfifoat};

fn put_fifo(path: &Utf8Path) {
    mkfifoat(CWD, path.as_std_path(), Mode::from_raw_mode(0o666)).unwrap();
}

/// Who opens a FIFO waits until somebody opens its other end, and nobody ever does.
#[test]
fn a_fifo_keeps_nobody_waiting() {
    let room = Room::new();
    let cluster = room.cluster(&complete_server());
    let options = room.start_options().ownership(Ownership::Detached);
    // The server itself waits for all but the last.
    let impatient = options.clone().timeout(Duration::from_millis(100));
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
        put_fifo(&path);
        for (_, operation) in OPERATIONS {
            operation(&cluster);
        }
        cluster.start(&impatient).unwrap_err();
        assert_eq!(cluster.pid().unwrap(), None);
        fs::remove_file(&path).unwrap();
        if was_there {
            fs::rename(&aside, &path).unwrap();
        }
    }
    cluster.start(&options).unwrap();
    cluster.kill().unwrap();
}

/// The same for what is written to ask something of a running server.
#[test]
fn a_fifo_is_no_request() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    cluster.start(&room.start_options()).unwrap();
    for name in ["promote", "logrotate"] {
        put_fifo(&cluster.data_directory().join(name));
    }
    cluster.promote().unwrap_err();
    cluster.rotate_log().unwrap_err();
}
