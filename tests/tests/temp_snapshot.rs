//! Snapshots and branches of temporary clusters.
#![allow(clippy::unwrap_used)]

use std::error::Error as _;

use camino::Utf8Path;
use pg_fixture::{Storage, TempCluster, TempErrorKind};
use pg_tests::{
    Room, ask, can_mount, connect_to, names, processes_below, server, servers, temp_builder,
};

fn execute(temp: &TempCluster, sql: &str) {
    connect_to(temp.connection_info())
        .batch_execute(sql)
        .unwrap();
}

fn query(temp: &TempCluster, sql: &str) -> String {
    ask(&mut connect_to(temp.connection_info()), sql)
}

fn identifier(temp: &TempCluster) -> u64 {
    let data = temp.cluster().data_directory();
    pg_proc::ControlData::read(data).unwrap().system_identifier
}

/// What a cluster is to keep: several databases, roles, settings, large and sparse files.
fn fill(temp: &TempCluster) {
    execute(temp, "CREATE ROLE alice LOGIN");
    execute(temp, "CREATE DATABASE shop OWNER alice");
    execute(temp, "ALTER SYSTEM SET work_mem = '7MB'");
    execute(temp, "ALTER ROLE alice SET statement_timeout = '9s'");
    execute(
        temp,
        "CREATE TABLE fruit (name text); INSERT INTO fruit VALUES ('fig');
         CREATE TABLE wide AS SELECT repeat(n::text, 300) AS x FROM generate_series(1, 40000) n;
         CREATE UNLOGGED TABLE quick AS SELECT 5 AS n",
    );
    let shop = temp.connection_info().clone().with_database("shop");
    connect_to(&shop)
        .batch_execute("CREATE TABLE sale (n int); INSERT INTO sale VALUES (1), (2)")
        .unwrap();
}

fn assert_filled(temp: &TempCluster) {
    assert_eq!(
        query(temp, "SELECT string_agg(name, ' ') FROM fruit"),
        "fig"
    );
    assert_eq!(query(temp, "SELECT count(x) FROM wide"), "40000");
    assert_eq!(query(temp, "SELECT n FROM quick"), "5");
    assert_eq!(query(temp, "SHOW work_mem"), "7MB");
    let roles = "SELECT rolconfig::text FROM pg_roles WHERE rolname = 'alice'";
    assert_eq!(query(temp, roles), "{statement_timeout=9s}");
    let shop = temp.connection_info().clone().with_database("shop");
    assert_eq!(ask(&mut connect_to(&shop), "SELECT sum(n) FROM sale"), "3");
}

fn change(temp: &TempCluster) {
    execute(temp, "DROP DATABASE shop");
    execute(temp, "DROP ROLE alice");
    execute(temp, "ALTER SYSTEM SET work_mem = '8MB'");
    execute(temp, "INSERT INTO fruit VALUES ('plum'); DROP TABLE wide");
}

/// Neither a data directory that was to take the place of the old one, nor the old one.
fn assert_no_copies(temp: &TempCluster) {
    let names = names(temp.path());
    let is_copy = |name: &String| name.starts_with("old-") || name.starts_with("new-");
    assert!(!names.iter().any(is_copy), "{names:?}");
}

#[test]
fn a_cluster_goes_back_to_its_snapshot_as_often_as_wanted() {
    for server in servers() {
        let room = Room::new();
        let temp = temp_builder(&room, server).start().unwrap();
        fill(&temp);
        let (uri, id) = (temp.uri(), identifier(&temp));
        let snapshot = temp.snapshot().unwrap();
        assert!(snapshot.size() > 1 << 20);
        assert_filled(&temp);
        for _ in 0..2 {
            change(&temp);
            temp.restore(&snapshot).unwrap();
            assert_eq!((temp.uri(), identifier(&temp)), (uri.clone(), id));
            assert_filled(&temp);
        }
        // From whatever state.
        temp.crash().unwrap();
        temp.restore(&snapshot).unwrap();
        assert_filled(&temp);
        temp.stop().unwrap();
        temp.restore(&snapshot).unwrap();
        assert_filled(&temp);
        // Nothing but the new data directory is left of it.
        assert_no_copies(&temp);
        let path = snapshot.path().to_owned();
        drop(snapshot);
        assert!(!path.exists());
        drop(temp);
        assert!(names(&room.join("storage")).is_empty());
    }
}

#[test]
fn a_branch_starts_with_the_state_and_changes_independently() {
    for server in servers() {
        let room = Room::new();
        let temp = temp_builder(&room, server).start().unwrap();
        fill(&temp);
        let branch = temp.branch().unwrap();
        assert_filled(&temp);
        assert_filled(&branch);
        assert_eq!(identifier(&temp), identifier(&branch));
        assert_ne!(temp.uri(), branch.uri());
        change(&branch);
        assert_filled(&temp);
        // The family has its snapshots in common.
        let snapshot = temp.snapshot().unwrap();
        branch.restore(&snapshot).unwrap();
        assert_filled(&branch);
        drop(temp);
        assert_filled(&branch);
        branch.restart().unwrap();
        assert_filled(&branch);
        drop((branch, snapshot));
        assert!(names(&room.join("storage")).is_empty());
    }
}

#[test]
fn a_snapshot_outlives_its_cluster() {
    let room = Room::new();
    let temp = temp_builder(&room, server()).start().unwrap();
    fill(&temp);
    let snapshot = temp.snapshot().unwrap();
    drop(temp);
    let branches = [snapshot.branch().unwrap(), snapshot.branch().unwrap()];
    drop(snapshot);
    branches.iter().for_each(assert_filled);
}

#[test]
fn a_restore_brings_back_access_rules_and_passwords() {
    let room = Room::new();
    let temp = temp_builder(&room, server())
        .password("s3cret")
        .hba("local all alice trust\n")
        .start()
        .unwrap();
    execute(&temp, "CREATE ROLE alice LOGIN");
    let hba = temp.cluster().data_directory().join("pg_hba.conf");
    let rules = std::fs::read_to_string(&hba).unwrap() + "local all bob reject\n";
    std::fs::write(&hba, &rules).unwrap();
    let branch = temp.branch().unwrap();
    assert_eq!(query(&branch, "SELECT 1"), "1");
    let hba = branch.cluster().data_directory().join("pg_hba.conf");
    assert_eq!(std::fs::read_to_string(hba).unwrap(), rules);
}

#[test]
fn a_snapshot_of_a_crashed_server_is_whole() {
    let room = Room::new();
    let temp = temp_builder(&room, server()).start().unwrap();
    execute(
        &temp,
        "SET synchronous_commit = on; CREATE TABLE fruit AS SELECT 'fig'::text AS name",
    );
    temp.crash().unwrap();
    let snapshot = temp.snapshot().unwrap();
    // It was not running before.
    assert!(!temp.cluster().is_running().unwrap());
    let branch = snapshot.branch().unwrap();
    assert_eq!(query(&branch, "SELECT name FROM fruit"), "fig");
}

#[test]
fn a_snapshot_of_another_cluster_is_refused_by_name() {
    let room = Room::new();
    let (temp, other) = (
        temp_builder(&room, server()).start().unwrap(),
        temp_builder(&room, server()).start().unwrap(),
    );
    let snapshot = other.snapshot().unwrap();
    let pid = temp.cluster().pid().unwrap();
    let error = temp.restore(&snapshot).unwrap_err();
    assert!(matches!(error.kind(), TempErrorKind::OtherCluster { .. }));
    let reason = error.source().unwrap().to_string();
    assert!(reason.contains(other.path().as_str()), "{reason}");
    assert_eq!(temp.cluster().pid().unwrap(), pid);
}

#[test]
fn a_snapshot_of_another_major_is_refused_by_name() {
    let all = servers();
    let (Some(newest), Some(oldest)) = (all.first(), all.last()) else {
        return;
    };
    if newest.major_version() == oldest.major_version() {
        // `cargo xtask test` runs this with more.
        return;
    }
    let room = Room::new();
    let old = temp_builder(&room, oldest.clone()).start().unwrap();
    let new = temp_builder(&room, newest.clone()).start().unwrap();
    let error = new.restore(&old.snapshot().unwrap()).unwrap_err();
    let reason = error.source().unwrap().to_string();
    assert!(
        reason.contains(&oldest.major_version().to_string())
            && reason.contains(&newest.major_version().to_string()),
        "{reason}"
    );
}

#[test]
fn a_snapshot_with_an_outside_tablespace_is_refused_before_the_server_stops() {
    for server in servers() {
        let room = Room::new();
        let outside = room.directory("outside");
        let temp = temp_builder(&room, server).start().unwrap();
        execute(
            &temp,
            &format!("CREATE TABLESPACE far LOCATION '{outside}'"),
        );
        let pid = temp.cluster().pid().unwrap();
        for error in [temp.snapshot().unwrap_err(), temp.branch().unwrap_err()] {
            let TempErrorKind::NotClonable(path) = error.kind() else {
                panic!("{error:?}");
            };
            assert!(
                path.starts_with(temp.path().join("data/pg_tblspc")),
                "{path}"
            );
            assert!(error.hint().unwrap().contains("tablespace"));
        }
        assert_eq!(temp.cluster().pid().unwrap(), pid);
    }
}

/// On a full disk nothing is lost, and nothing is left.
#[test]
fn a_restore_without_disk_space_keeps_the_state() {
    if !can_mount() {
        return;
    }
    let room = Room::new();
    let disk = room.directory("disk");
    let mounted = pg_tests::Mount::tmpfs(&disk, "160m");
    pg_tests::give_to_servers(&disk);
    let temp = temp_builder(&room, server())
        .storage(Storage::Directory(disk.clone()))
        .start()
        .unwrap();
    execute(&temp, "CREATE TABLE fruit AS SELECT 'fig'::text AS name");
    let snapshot = temp.snapshot().unwrap();
    execute(&temp, "INSERT INTO fruit VALUES ('plum')");
    // `synchronous_commit` is off: a server that fails on a full disk may lose its last commits.
    execute(&temp, "CHECKPOINT");
    let before = names(&disk);
    let filler = mounted.fill();
    for error in [
        temp.restore(&snapshot).unwrap_err(),
        temp.branch().unwrap_err(),
        snapshot.branch().unwrap_err(),
        temp.snapshot().unwrap_err(),
    ] {
        assert!(is_about_room(&error), "{error:?}");
    }
    std::fs::remove_file(filler).unwrap();
    assert_eq!(names(&disk), before);
    assert_no_copies(&temp);
    temp.start_again().unwrap();
    assert_eq!(query(&temp, "SELECT count(*) FROM fruit"), "2");
    temp.restore(&snapshot).unwrap();
    assert_eq!(query(&temp, "SELECT count(*) FROM fruit"), "1");
    drop((temp, snapshot));
    assert_eq!(processes_below(&disk), Vec::<&Utf8Path>::new());
}

fn is_about_room(error: &pg_fixture::TempError) -> bool {
    let mut cause: Option<&dyn std::error::Error> = error.source();
    let mut text = String::new();
    while let Some(error) = cause {
        text += &format!("{error}; ");
        cause = error.source();
    }
    text.contains("No space left") || text.contains("full")
}
