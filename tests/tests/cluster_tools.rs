//! The interface for tools that are built on this crate: programs ready to run, guards, and servers
//! that outlive the value that started them.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::time::Duration;

use camino::Utf8PathBuf;
use pg_cluster::{Cluster, Installation, Program};
use pg_proc::{DirectoryLock, Found, GuardOptions, Postmaster, Tenancy, Tenant};
use pg_tests::{Room, init_options, server, servers};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_program_of_the_installation_runs_as_the_clusters_account() {
    let room = Room::new();
    for (n, installation) in servers().into_iter().enumerate() {
        let data = room.join(&format!("data{n}"));
        let cluster = Cluster::new(installation, &data).unwrap();
        cluster.init(&init_options()).unwrap();
        // The server refuses to run as root, and the data directory is closed to other accounts.
        let output = cluster
            .command(Program::Postgres)
            .unwrap()
            .args(["--single", "-D", data.as_str(), "postgres"])
            .input("SHOW server_version_num\n")
            .run(PATIENCE)
            .unwrap();
        let version = cluster.installation().version().num().to_string();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(&version), "{said}");
    }
}

#[test]
fn a_missing_program_is_named() {
    let pairs = [("VERSION", "PostgreSQL 16.3"), ("BINDIR", "/nowhere")];
    let installation = Installation::from_pairs(pairs).unwrap();
    let cluster = Cluster::new(installation, "/nowhere/data").unwrap();
    let error = cluster.command(Program::PgDump).unwrap_err();
    assert!(format!("{error:?}").contains("PgDump"), "{error:?}");
}

/// A directory with a cluster in it, and the guard of that directory.
fn guarded(room: &Room) -> (Utf8PathBuf, Cluster) {
    let top = room.directory("guarded");
    let data = top.join("data");
    let guard = GuardOptions::new().remove(&top).guard().unwrap();
    let cluster = Cluster::new(server(), data).unwrap().guarded_by(guard);
    cluster.init(&init_options()).unwrap();
    (top, cluster)
}

#[test]
fn a_guarded_cluster_is_removed_after_its_server_exits() {
    let room = Room::new();
    let (top, cluster) = guarded(&room);
    let started = cluster.start(&room.start_options()).unwrap();
    drop(cluster);
    assert!(!top.exists());
    assert!(!Utf8PathBuf::from(format!("/proc/{}", started.pid())).exists());
}

#[test]
fn a_guard_that_was_taken_back_can_be_released() {
    let room = Room::new();
    let (top, mut cluster) = guarded(&room);
    cluster.take_guard().unwrap().release();
    assert!(cluster.take_guard().is_none());
    drop(cluster);
    assert!(top.join("data/PG_VERSION").is_file());
}

fn running(cluster: &Cluster) -> Postmaster {
    match Postmaster::find(cluster.data_directory()).unwrap() {
        Found::Running(postmaster) => postmaster,
        other => panic!("{other:?}"),
    }
}

#[test]
fn letting_go_of_a_server_shuts_it_down() {
    let room = Room::new();
    let (top, mut cluster) = guarded(&room);
    cluster.start(&room.start_options()).unwrap();
    let postmaster = running(&cluster);
    cluster.let_go();
    postmaster.wait_gone(PATIENCE).unwrap();
    drop(cluster);
    // The guard has been let go too, and removes the directory when it will.
    while top.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_server_with_tenants_runs_until_the_last_has_left() {
    let room = Room::new();
    let mut cluster = room.cluster(&server());
    let meeting = room.join("meeting");
    fs::create_dir(&meeting).unwrap();
    let fifo = room.join("users");
    let tenant = {
        let _lock = DirectoryLock::acquire(&meeting, PATIENCE).unwrap();
        let tenancy = Tenancy::create(&fifo, &meeting, Duration::ZERO).unwrap();
        let tenant = Tenant::enter(&fifo).unwrap().unwrap();
        let log = pg_proc::Log::File(cluster.data_directory().join("server.log"));
        let options = room.start_options().tenancy(tenancy).log(log);
        cluster.start(&options).unwrap();
        tenant
    };
    let postmaster = running(&cluster);
    cluster.let_go();
    drop(cluster);
    let second = {
        let _lock = DirectoryLock::acquire(&meeting, PATIENCE).unwrap();
        Tenant::enter(&fifo).unwrap().unwrap()
    };
    drop(tenant);
    assert!(postmaster.is_alive());
    drop(second);
    postmaster.wait_gone(PATIENCE).unwrap();
}
