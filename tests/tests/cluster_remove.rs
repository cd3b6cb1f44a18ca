//! Removing clusters: everything that is theirs, nothing that is not.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::Duration;

use pg_cluster::{Cluster, RemoveErrorKind, State};
use pg_tests::{Room, child, connect, copy, init_options, random, role, rounds, server, servers};

#[test]
fn a_running_cluster_is_removed_completely() {
    for installation in servers() {
        let room = Room::new();
        let wal = room.directory("wal");
        let space = room.directory("space");
        fs::write(space.join("readme"), "mine").unwrap();
        let cluster = Cluster::new(installation, room.join("data")).unwrap();
        let made = cluster.init(&init_options().wal_directory(&wal));
        // A directory for a tablespace has to be empty of the server's version, not of everything.
        made.unwrap();
        cluster.start(&room.start_options()).unwrap();
        let mut client = connect(&cluster);
        client
            .batch_execute(&format!("CREATE TABLESPACE s LOCATION '{space}'"))
            .unwrap();
        client
            .batch_execute("CREATE TABLE t TABLESPACE s AS SELECT 1 AS i")
            .unwrap();
        // Busy with a client: the gentle way comes to nothing, the next one does not.
        cluster.remove().unwrap();
        assert!(!cluster.data_directory().exists());
        assert!(!wal.exists());
        let names: Vec<_> = fs::read_dir(&space)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, ["readme"], "what others have put there remains");
        assert_eq!(cluster.state().unwrap(), State::Absent);
        cluster.remove().unwrap();
    }
}

#[test]
fn a_directory_that_is_not_a_cluster_is_refused() {
    let room = Room::new();
    let other = room.directory("other");
    fs::write(other.join("precious"), "data").unwrap();
    let cluster = Cluster::new(server(), &other).unwrap();
    let error = cluster.remove().unwrap_err();
    assert!(
        matches!(error.kind(), RemoveErrorKind::NoDataDirectory("PG_VERSION")),
        "{error:?}"
    );
    assert_eq!(
        error.kind().to_string(),
        "the directory is not a data directory: it has no PG_VERSION"
    );
    assert_eq!(fs::read_to_string(other.join("precious")).unwrap(), "data");
    fs::write(room.join("file"), "").unwrap();
    assert!(
        Cluster::new(server(), room.join("file"))
            .unwrap()
            .remove()
            .is_err()
    );
    assert!(room.join("file").exists());
}

/// `pg_wal` that leads to another user's home, and other links in the data directory: the links are
/// removed, and their targets stay.
#[test]
fn links_out_of_the_cluster_are_not_followed() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    let data = cluster.data_directory();
    let home = room.directory("home");
    fs::rename(data.join("pg_wal"), home.join("000000010000000000000001")).unwrap();
    fs::write(home.join("thesis.txt"), "precious").unwrap();
    symlink(&home, data.join("pg_wal")).unwrap();
    symlink(&home, data.join("another")).unwrap();
    cluster.remove().unwrap();
    assert!(!data.exists());
    assert_eq!(
        fs::read_to_string(home.join("thesis.txt")).unwrap(),
        "precious"
    );
    assert_eq!(fs::read_dir(&home).unwrap().count(), 2);
}

#[test]
fn a_link_to_the_data_directory_is_removed_with_it() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    symlink(cluster.data_directory(), room.join("link")).unwrap();
    Cluster::new(server(), room.join("link"))
        .unwrap()
        .remove()
        .unwrap();
    assert!(!cluster.data_directory().exists() && !room.join("link").is_symlink());
}

/// Killed at any moment: no longer a cluster, or still one; and the second attempt completes what
/// the first began.
#[test]
fn a_killed_removal_is_completed_by_the_next() {
    const NAME: &str = "a_killed_removal_is_completed_by_the_next";
    if let Some(directory) = role() {
        Cluster::new(server(), directory).unwrap().remove().unwrap();
        return;
    }
    let room = Room::new();
    let template = room.cluster(&server());
    for round in 0..rounds("PG_TESTS_REMOVE_KILLS", 12) {
        let data = room.join(&format!("copy{round}"));
        copy(template.data_directory(), &data);
        let mut killed = child(NAME, data.as_str()).spawn().unwrap();
        thread::sleep(Duration::from_micros(random(50_000)));
        killed.kill().unwrap();
        killed.wait().unwrap();
        let cluster = Cluster::new(server(), &data).unwrap();
        cluster.remove().unwrap();
        assert!(!data.exists());
    }
}
