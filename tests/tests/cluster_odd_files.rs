//! Data directories with other objects in the place of files.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::process::Command;
use std::time::Duration;

use pg_cluster::{Cluster, FileErrorKind, Ownership, SettingsErrorKind};
use pg_tests::{OPERATIONS, Room, complete_server, is_root, names, put_fifo, server};

/// Opening a FIFO blocks until another process opens its other end, which never happens here.
#[test]
fn a_fifo_does_not_block_a_caller() {
    // The programs run until they time out: concurrently, because they are all idle.
    std::thread::scope(|scope| {
        for name in [
            "PG_VERSION",
            "global/pg_control",
            "postgresql.conf",
            "postgresql.auto.conf",
            "postmaster.opts",
            "postmaster.pid",
            "server.log",
        ] {
            scope.spawn(|| keeps_nobody_waiting(name));
        }
    });
}

fn keeps_nobody_waiting(name: &str) {
    let room = Room::new();
    let cluster = room.cluster(&complete_server());
    let options = room.start_options().ownership(Ownership::Detached);
    // The server itself waits for all but the last.
    let impatient = options.clone().timeout(Duration::from_millis(100));
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
    cluster.start(&options).unwrap();
    cluster.kill().unwrap();
}

/// A link to the null device switches a file off. To write there would be to replace the device,
/// which root could.
#[test]
fn a_device_is_not_replaced() {
    let room = Room::new();
    let device = room.directory("data").join("device");
    if is_root() {
        let node = ["-m", "666", device.as_str(), "c", "1", "3"];
        let made = Command::new("mknod").args(node).status().unwrap();
        assert!(made.success(), "root can make devices");
    } else {
        symlink("/dev/null", &device).unwrap();
    }
    let cluster = Cluster::new(server(), room.join("data")).unwrap();
    symlink(&device, cluster.config_file()).unwrap();
    assert_eq!(cluster.settings().get("port").unwrap(), None);
    let error = cluster.settings().set("port", 5433).unwrap_err();
    assert!(
        matches!(
            error.kind(),
            SettingsErrorKind::File(FileErrorKind::Write(_))
        ),
        "{error:?}"
    );
    assert!(fs::metadata(&device).unwrap().file_type().is_char_device());
    assert_eq!(
        names(cluster.data_directory()),
        ["device", "postgresql.conf"]
    );
}

/// The same for files that request something from a running server.
#[test]
fn a_fifo_is_not_a_request() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    cluster.start(&room.start_options()).unwrap();
    for name in ["promote", "logrotate"] {
        put_fifo(&cluster.data_directory().join(name));
    }
    cluster.promote().unwrap_err();
    cluster.rotate_log().unwrap_err();
}
